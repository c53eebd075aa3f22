using System.Numerics.Tensors;
using FedICU.Compute;
using FedICU.Memory;

namespace FedICU.Panels;

// passes that widen the clients' values block by block, for rules that no verb computes
internal sealed unsafe partial class TensorPasses
{
    // elements of a block that a rule gets in float64: chosen, 50 clients' values fit the second-level cache. Must not
    // be a multiple of a page's 512: the clients' elements of one index would share sets of the first-level cache.
    private const int RuleBlock = 480;

    // the elements of a client's update that are visited at a time: chosen, the first-level cache holds them
    public const int VisitedElements = 2048;

    // the pieces of a pass that adds up what it finds in blocks: chosen, and part of the fixed reduction order
    private const int BlockPieces = 64;

    /// <summary>Writes the output block by block from all clients' values.</summary>
    /// <param name="inputs">The inputs.</param>
    /// <param name="rule">
    /// Computes a block of the output; added to the global model's values if they are an input.
    /// </param>
    public void ForEachBlock(BlockInputs inputs, BlockRule rule)
    {
        WritePanels(inputs.Readers, GroupingBy(NormAxis.Tensor), (settings, inputs, rule), static (pass, _, panels, panel, output) =>
        {
            (PassSettings settings, BlockInputs inputs, BlockRule rule) = pass;
            settings.Work.AddOnCpu(panels, panel.Length);
            using NativeBuffer memory = AllocateTile(inputs.Clients);
            double* tile = (double*)memory.Pointer;
            long nonFinite = 0;
            for (int start = 0; start < panel.Length; start += RuleBlock)
            {
                int count = Math.Min(RuleBlock, panel.Length - start), length = PadBlock(count);
                // checked here because a rule may discard a value
                nonFinite += Widen(inputs, panels, start, count, tile, length);
                var result = new TensorPanel(tile + (long)inputs.Clients * length, DType.F64);
                new Span<double>(result.Data, length).Clear();
                rule(new ClientBlock(tile, inputs.Clients, length, panel.Start + start));
                nonFinite += inputs.HasGlobal
                    ? AddToGlobal(inputs, panels, (double*)result.Data, start, count, output)
                    : Cpu.WeightedSum([result], [1], 1, count, output.From(start));
            }

            return nonFinite;
        });
    }

    /// <summary>
    /// Adds what a rule finds in blocks of all clients' values. The tensor is cut into fixed pieces, whose sums are
    /// added in their order.
    /// </summary>
    public void AddFromBlocks(BlockInputs inputs, Span<double> sums, BlockSums rule)
    {
        List<Grouping.Panel> panels = GroupingBy(NormAxis.Tensor).Panels(inputs.Readers.Length);
        int pieces = Math.Min(panels.Count, BlockPieces);
        using GroupBuffer partial = NewGroups(pieces, sums.Length);
        var pass = (Passes: this, inputs, panels, pieces, partial, rule);
        RunPass(pieces, UsesThreads(inputs.Readers), last: false, pass, static (pass, piece, scratch) =>
        {
            (TensorPasses passes, BlockInputs inputs, List<Grouping.Panel> panels, int pieces, GroupBuffer partial, BlockSums rule) = pass;
            int first = (int)((long)panels.Count * piece / pieces), end = (int)((long)panels.Count * (piece + 1) / pieces);
            PanelRuns runs = passes.Runs(inputs.Readers, panels[first..end]);
            using NativeBuffer memory = AllocateTile(inputs.Clients);
            double* tile = (double*)memory.Pointer;
            for (int r = 0; r < runs.Count; r++)
            {
                scratch.Reset();
                PanelRun run = runs[r];
                ReadOnlySpan<TensorPanel> read = run.Read(inputs.Readers, scratch);
                passes.AddWorkOnCpu(read, run.Length);
                for (int start = 0; start < run.Length; start += RuleBlock)
                {
                    int count = Math.Min(RuleBlock, run.Length - start), length = PadBlock(count);
                    Widen(inputs, read, start, count, tile, length);
                    rule(new ClientBlock(tile, inputs.Clients, length, run.Start + start), partial[piece]);
                }
            }
        });
        for (int piece = 0; piece < pieces; piece++)
            TensorPrimitives.Add(sums, partial[piece], sums);
    }

    /// <summary>Shows one client's update in float64, in pieces that follow each other, on one thread.</summary>
    public void VisitUpdate(BlockInputs inputs, int client, Scratch scratch, UpdateVisitor visitor)
    {
        PanelReader[] readers = inputs.Of(client).Readers;
        PanelRuns runs = Runs(readers, GroupingBy(NormAxis.Tensor).Panels(readers.Length));
        for (int r = 0; r < runs.Count; r++)
        {
            Workers.CancellationToken.ThrowIfCancellationRequested();
            scratch.Reset();
            VisitRun(inputs.Of(client), runs[r], client, scratch, visitor);
        }
    }

    /// <summary>Shows a run of one client's update.</summary>
    public void VisitRun(BlockInputs inputs, PanelRun run, int client, Scratch scratch, UpdateVisitor visitor)
    {
        ReadOnlySpan<TensorPanel> read = run.Read(inputs.Readers, scratch);
        settings.Work.AddOnCpu(read, run.Length);
        double* tile = stackalloc double[2 * VisitedElements];
        for (int start = 0; start < run.Length; start += VisitedElements)
        {
            int count = Math.Min(VisitedElements, run.Length - start);
            Cpu.WidenUpdate(read[0].From(start), WidenOrigin(inputs, read, start, count, tile + VisitedElements), count, tile);
            visitor(client, run.Start + start, new ReadOnlySpan<double>(tile, count));
        }
    }

    /// <summary>
    /// Widens the global model's elements if updates are differences to it, with zeros up to a multiple of eight.
    /// </summary>
    /// <returns>The elements; null if nothing is subtracted.</returns>
    public static double* WidenOrigin(BlockInputs inputs, ReadOnlySpan<TensorPanel> panels, int start, int count, double* origin)
    {
        if (!inputs.SubtractsGlobal)
            return null;
        Cpu.WidenUpdate(panels[inputs.Clients].From(start), null, count, origin);
        return origin;
    }

    /// <summary>Counts inputs that the CPU computes with outside of the backend.</summary>
    public void AddWorkOnCpu(ReadOnlySpan<TensorPanel> inputs, int length) => settings.Work.AddOnCpu(inputs, length);

    /// <summary>Allocates a block of all clients, of the result and of the global model.</summary>
    private static NativeBuffer AllocateTile(int clients) => new((clients + 2L) * RuleBlock * sizeof(double), pressure: false);

    private static int PadBlock(int count) => (count + 15) / 16 * 16;

    /// <summary>Widens elements of all clients to rows of the tile; the rest of each row is 0.</summary>
    /// <returns>The number of clients with values that are not finite.</returns>
    private static long Widen(BlockInputs inputs, ReadOnlySpan<TensorPanel> panels, int start, int count, double* tile, int length)
    {
        if (count < length)
            new Span<double>(tile, inputs.Clients * length).Clear();
        double* origin = WidenOrigin(inputs, panels, start, count, tile + (inputs.Clients + 1L) * length);
        long nonFinite = 0;
        for (int k = 0; k < inputs.Clients; k++)
            nonFinite += Cpu.WidenUpdate(panels[k].From(start), origin, count, tile + (long)k * length) ? 0 : 1;
        return nonFinite;
    }

    /// <summary>Rounds the global model's elements plus an update to the output.</summary>
    private static long AddToGlobal(
        BlockInputs inputs, ReadOnlySpan<TensorPanel> panels, double* update, int start, int count, TensorPanel output) =>
        Cpu.WeightedSum(
            [new TensorPanel(update, DType.F64), panels[inputs.Clients].From(start)], [1, 1], 1, count, output.From(start));
}
