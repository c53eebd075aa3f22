using System.Numerics.Tensors;
using FedICU.Compute;
using FedICU.Memory;

namespace FedICU.Panels;

internal sealed unsafe partial class TensorPasses
{
    /// <summary>
    /// The smallest number of values of all inputs for which <see cref="TryGram"/> is used. The caches hold fewer
    /// values, so that separate passes over them are cheap (measured, docs/adr/0008).
    /// </summary>
    public const long GramValues = 1 << 24;

    // The largest number of columns of a narrow matrix, such as LoRA's B (measured, docs/adr/0008).
    private const int NarrowColumns = 512;

    // The smallest number of values for each inner product for which TryGram is used on a narrow matrix (measured).
    private const long NarrowValuesPerSum = 6;

    // Columns that a narrow matrix is folded to: one cache line of F32. The sums of all pairs then stay in registers
    // while each input is read in the order of its memory (measured, docs/adr/0008).
    private const int NarrowFold = 16;

    // The number of inputs whose squares are summed side by side: few, so that their sums stay in the cache (chosen).
    private const int SquaresInputs = 4;

    // The number of pieces of work that a pass for squares is cut into, to keep all threads busy (chosen).
    private const int SquaresPieces = 64;

    // The float64 sums of all pieces of a pass for pair distances together, above LeastPieces: chosen, 16 MiB.
    private const int PairAccumulators = 2 << 20;

    // The pieces of such a pass, which keep the threads busy: chosen, and part of the fixed reduction order.
    private const int LeastPieces = 4;
    private const int MostPieces = 64;

    /// <summary>Computes the sum of squares of each input in each group: inputs x groups.</summary>
    public GroupBuffer Squares(PanelReader[] inputs, Grouping grouping)
    {
        int count = inputs.Length;
        // Inputs are independent here, so the CPU takes few at a time: their sums stay in the cache while rows pass,
        // and the tensor is cut into as many segments as keep the threads busy. A device cuts the work itself.
        bool byInput = Backend.Device is null;
        int width = byInput ? Math.Min(SquaresInputs, count) : count;
        List<Grouping.Segment> segments = byInput
            ? grouping.Segments(width, accumulators: count, most: (SquaresPieces + count - 1) / count)
            : grouping.Segments(count, accumulators: count);
        int blocks = (count + width - 1) / width;
        using var partial = new PartialSums(Workers.Memory, grouping, segments, count);
        var pass = (Passes: this, inputs, grouping, segments, width, blocks, partial);
        RunPass(segments.Count * blocks, UsesThreads(inputs), last: false, pass, static (pass, piece, scratch) =>
        {
            (TensorPasses passes, PanelReader[] inputs, Grouping grouping, List<Grouping.Segment> segments, int width, int blocks,
                PartialSums partial) = pass;
            Grouping.Segment segment = segments[piece / blocks];
            int first = piece % blocks * width, last = Math.Min(first + width, inputs.Length);
            ReadOnlySpan<PanelReader> some = inputs.AsSpan(first..last);
            GroupValues sums = partial.Begin(piece / blocks, first, last);
            PanelRuns runs = passes.Runs(some, segment.Panels);
            for (int r = 0; r < runs.Count; r++)
            {
                PanelRun run = runs[r];
                scratch.Reset();
                Span<TensorPanel> read = run.Read(some, scratch);
                for (int i = 0; i < run.Count; i++)
                {
                    var sumsOfRun = new GroupValues(sums.Data + (run[i].Group - segment.Group), sums.Stride);
                    passes.Backend.AddSquares(run.Next(read, i), Geometry(grouping, run[i]), sumsOfRun);
                }
            }
        });
        return partial.Merge(Workers);
    }

    /// <summary>Returns readers of the inputs multiplied by a power of two; the inputs themselves if it is 1.</summary>
    public PanelReader[] Scaled(PanelReader[] inputs, double factor) =>
        factor == 1 ? inputs : Array.ConvertAll(inputs, input => (PanelReader)new ScaledPanelReader(input, factor, Backend));

    /// <summary>
    /// Computes the infinite norms again from scaled values (Blue 1978): their squares overflowed float64. Other norms
    /// stay unchanged.
    /// </summary>
    /// <param name="norms">The norm of each input and group.</param>
    /// <param name="inputs">The inputs, in host memory.</param>
    /// <param name="grouping">The groups.</param>
    public void RestoreNorms(GroupBuffer norms, PanelReader[] inputs, Grouping grouping)
    {
        for (int k = 0; k < norms.Inputs; k++)
        {
            Span<double> own = norms[k];
            if (!own.Contains(double.PositiveInfinity))
                continue;
            using GroupBuffer squares = Squares(Scaled([inputs[k]], SumScale.Down), grouping);
            for (int group = 0; group < own.Length; group++)
            {
                if (double.IsPositiveInfinity(own[group]))
                    own[group] = Math.Sqrt(squares[0][group]) * SumScale.Up;
            }
        }
    }

    /// <summary>
    /// Computes the inner products of all pairs of inputs in each group in one pass: pairs (in the order of
    /// <see cref="GramPairs"/>) x groups. Returns null if separate passes over the inputs cost less.
    /// </summary>
    public GroupBuffer? TryGram(PanelReader[] inputs, Grouping grouping)
    {
        if (inputs.Length > Backend.PairInputs)
            return null;
        bool narrow = grouping.GroupsAreColumns && grouping.Groups <= NarrowColumns;
        if (narrow)
        {
            long folded = Math.Max(NarrowFold, grouping.Groups * Grouping.GetRowsOfFullVectors(grouping.Groups));
            grouping = GroupingBy(NormAxis.Columns, (int)folded);
        }

        int pairs = GramPairs.Count(inputs.Length);
        long values = grouping.Elements * inputs.Length, sums = pairs * grouping.FoldedGroups;
        bool isFaster = values >= GramValues || narrow && values >= NarrowValuesPerSum * sums;
        if (!isFaster || sums > Grouping.MaximumAccumulators)
            return null;
        return SumByGroup(inputs, grouping, pairs, grouping, static (grouping, backend, panels, panel, sums) =>
            backend.AddGram(panels, Geometry(grouping, panel), sums));
    }

    /// <summary>
    /// Computes, for each input k, the inner product of a_k x_k with sum_j b_j x_j over the whole tensor.
    /// </summary>
    /// <param name="inputs">The inputs x.</param>
    /// <param name="grouping">The groups.</param>
    /// <param name="a">The coefficient a of each input and group.</param>
    /// <param name="b">The coefficient b of each input and group; may be <paramref name="a"/>.</param>
    /// <param name="dots">Receives one inner product for each input.</param>
    public void Projections(PanelReader[] inputs, Grouping grouping, GroupBuffer a, GroupBuffer b, Span<double> dots)
    {
        List<Grouping.Panel> panels = grouping.Panels(inputs.Length);
        PanelRuns runs = Runs(inputs, panels);
        // one row for each panel; the rows are added in ascending order, so that threads change no bit
        using GroupBuffer partial = NewGroups(panels.Count, inputs.Length);
        using GroupBuffer? foldedA = Folded(grouping, a), foldedB = ReferenceEquals(a, b) ? null : Folded(grouping, b);
        GroupValues allA = (foldedA ?? a).ToValues(), allB = ReferenceEquals(a, b) ? allA : (foldedB ?? b).ToValues();
        var pass = (Backend, inputs, grouping, runs, allA, allB, partial);
        RunPass(runs.Count, UsesThreads(inputs), last: false, pass, static (pass, piece, scratch) =>
        {
            (IComputeBackend backend, PanelReader[] inputs, Grouping grouping, PanelRuns runs, GroupValues a, GroupValues b,
                GroupBuffer partial) = pass;
            PanelRun run = runs[piece];
            Span<TensorPanel> read = run.Read(inputs, scratch);
            for (int i = 0; i < run.Count; i++)
                backend.AddProjections(run.Next(read, i), Geometry(grouping, run[i]), At(a, run[i]), At(b, run[i]), partial[run.First + i]);
        });
        dots.Clear();
        for (int panel = 0; panel < panels.Count; panel++)
            TensorPrimitives.Add(dots, partial[panel], dots);
    }

    /// <summary>
    /// Computes the sum of squares of sum_k c_k x_k in each group. Also stores the combination itself in float64 if
    /// <paramref name="unrounded"/> is given, which has room for the whole tensor.
    /// </summary>
    public GroupBuffer CombinationSquares(PanelReader[] inputs, Grouping grouping, GroupBuffer coefficients, Unrounded? unrounded)
    {
        using GroupBuffer? folded = Folded(grouping, coefficients);
        GroupValues all = (folded ?? coefficients).ToValues();
        return SumByGroup(inputs, grouping, 1, (grouping, all, unrounded), static (sum, backend, panels, panel, squares) =>
        {
            TensorPanel output = sum.unrounded?.From(panel.Start) ?? new TensorPanel(null, DType.F64);
            backend.Combine(panels, Geometry(sum.grouping, panel), At(sum.all, panel), null, output, squares.Data);
        });
    }

    /// <summary>
    /// Adds the squared distance of each pair of inputs j &lt; k to the sums: of the pairs with k = 1, then k = 2, ...
    /// </summary>
    public void AddPairDistances(PanelReader[] inputs, Span<double> sums) =>
        AddSums(inputs, sums, static (backend, panels, length, sums) => backend.AddPairDistances(panels, length, sums));

    /// <summary>
    /// Adds the squared distance of each input to the origin. With a direction, adds after them the inner product of
    /// each input and the direction, both less the origin.
    /// </summary>
    /// <param name="inputs">N readers.</param>
    /// <param name="origin">The origin; null for 0.</param>
    /// <param name="direction">The direction; null for none.</param>
    /// <param name="sums">N sums, with a direction 2 N.</param>
    public void AddDistances(PanelReader[] inputs, PanelReader? origin, PanelReader? direction, Span<double> sums)
    {
        int count = inputs.Length;
        PanelReader?[] further = [origin, direction];
        PanelReader[] all = [.. inputs, .. further.OfType<PanelReader>()];
        bool hasOrigin = origin is not null, hasDirection = direction is not null;
        AddSums(all, sums, (backend, panels, length, sums) => backend.AddDistances(
            panels[..count], hasOrigin ? panels[count] : default, hasDirection ? panels[^1] : default, length, sums[..count],
            sums[count..]));
    }

    private delegate void SumVerb(IComputeBackend backend, ReadOnlySpan<TensorPanel> panels, int length, Span<double> sums);

    /// <summary>Adds what the verb sums over the whole tensor.</summary>
    private void AddSums(PanelReader[] inputs, Span<double> sums, SumVerb verb)
    {
        if (sums.IsEmpty)
            return;
        List<Grouping.Panel> panels = GroupingBy(NormAxis.Tensor).Panels(inputs.Length);
        int pairs = sums.Length, pieces = Math.Min(panels.Count, (int)Math.Clamp(PairAccumulators / pairs, LeastPieces, MostPieces));
        using GroupBuffer partial = NewGroups(pieces, pairs);
        var pass = (Passes: this, inputs, panels, pieces, partial, verb);
        RunPass(pieces, UsesThreads(inputs), last: false, pass, static (pass, piece, scratch) =>
        {
            (TensorPasses passes, PanelReader[] inputs, List<Grouping.Panel> panels, int pieces, GroupBuffer partial, SumVerb verb) = pass;
            int first = (int)((long)panels.Count * piece / pieces), end = (int)((long)panels.Count * (piece + 1) / pieces);
            PanelRuns runs = passes.Runs(inputs, panels[first..end]);
            for (int r = 0; r < runs.Count; r++)
            {
                scratch.Reset();
                PanelRun run = runs[r];
                Span<TensorPanel> read = run.Read(inputs, scratch);
                for (int i = 0; i < run.Count; i++)
                    verb(passes.Backend, run.Next(read, i), run[i].Length, partial[piece]);
            }
        });
        for (int piece = 0; piece < pieces; piece++)
            TensorPrimitives.Add(sums, partial[piece], sums);
    }

    /// <summary>Counts the values of an input that are NaN or infinite.</summary>
    public long CountNonFinite(PanelReader input) => Count(input, (panel, length, _) => Backend.CountNonFinite(panel, length));

    /// <summary>Counts the finite values of an input that are too large for the output's type.</summary>
    public long CountTooLarge(PanelReader input) => Count(input, (panel, length, scratch) =>
    {
        var rounded = new TensorPanel(scratch.Take((long)length * Output.DType.BitSize / 8), Output.DType);
        return Backend.WeightedSum([panel], [1], 1, length, rounded) - Backend.CountNonFinite(panel, length);
    });

    private long Count(PanelReader input, Func<TensorPanel, int, Scratch, long> countPanel)
    {
        List<Grouping.Panel> panels = GroupingBy(NormAxis.Tensor).Panels(1);
        long count = 0;
        Workers.Run(panels.Count, UsesThreads([input]), (piece, scratch) =>
        {
            Grouping.Panel panel = panels[piece];
            Interlocked.Add(ref count, countPanel(input.Read(panel.Start, panel.Length, scratch), panel.Length, scratch));
        });
        return count;
    }

    private delegate void GroupVerb<T>(
        T state, IComputeBackend backend, ReadOnlySpan<TensorPanel> inputs, Grouping.Panel panel, GroupValues sums);

    /// <summary>
    /// Computes <paramref name="accumulators"/> sums of each group from all inputs: first by segment, then over the
    /// segments.
    /// </summary>
    private GroupBuffer SumByGroup<T>(PanelReader[] inputs, Grouping grouping, int accumulators, T state, GroupVerb<T> verb)
    {
        List<Grouping.Segment> segments = grouping.Segments(inputs.Length, accumulators);
        bool joined = grouping.GroupsAreColumns && Array.TrueForAll(inputs, static input => input.IsInMemory);
        using var partial = new PartialSums(Workers.Memory, grouping, segments, accumulators);
        var pass = (Passes: this, inputs, segments, joined, partial, state, verb);
        RunPass(segments.Count, UsesThreads(inputs), last: false, pass, static (pass, piece, scratch) =>
        {
            (TensorPasses passes, PanelReader[] inputs, List<Grouping.Segment> segments, bool joined, PartialSums partial, T state,
                GroupVerb<T> verb) = pass;
            Grouping.Segment segment = segments[piece];
            GroupValues sums = partial.Begin(piece);
            PanelRuns runs = passes.Runs(inputs, joined ? segment.Joined : segment.Panels);
            for (int r = 0; r < runs.Count; r++)
            {
                PanelRun run = runs[r];
                scratch.Reset();
                Span<TensorPanel> read = run.Read(inputs, scratch);
                for (int i = 0; i < run.Count; i++)
                {
                    var sumsOfRun = new GroupValues(sums.Data + (run[i].Group - segment.Group), sums.Stride);
                    verb(state, passes.Backend, run.Next(read, i), run[i], sumsOfRun);
                }
            }
        });
        return partial.Merge(Workers);
    }
}
