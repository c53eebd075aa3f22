using System.Numerics.Tensors;
using System.Runtime.InteropServices;
using FedICU.Compute;
using FedICU.Memory;
using FedICU.Panels;
using FedICU.Strategies.Abstractions;

namespace FedICU.Rounds.Lora;

/// <summary>
/// Computes the error that averaging LoRA's factors separately makes in their product: ||mean(B A) - mean(B) mean(A)||
/// / ||mean(B A)|| in the Frobenius norm, with means weighted by the clients' shares. The products are computed through
/// the factors and never formed.
/// </summary>
internal static unsafe class LoraCrossTerms
{
    /// <summary>
    /// The largest clients x rank that is measured; the work grows with its square. Measured: two minutes of two cores
    /// for a model of 7 billion parameters.
    /// </summary>
    public const int MaximumStackedRank = 2048;

    // the largest product that is not scaled, and 1 / the smallest. Derived: products of two such numbers, and sums of
    // 2^30 of them, are far from both ends of float64's range
    private const double LargestProduct = 1e120;

    // elements of each vector that are processed at a time: chosen, a few hundred vectors of them fit in the
    // second-level cache
    private const int BlockLength = 256;

    // the report has the same digits whatever the round's backend is, and a device gains nothing from small blocks
    private static readonly SimdBackend Cpu = new();

    /// <summary>Measures each pair, and adds a note about the pairs that are left out.</summary>
    /// <param name="state">The run.</param>
    /// <param name="found">The pairs.</param>
    /// <param name="notes">The report's notes.</param>
    /// <param name="withSpaces">Whether effective ranks and overlaps are measured too.</param>
    public static IReadOnlyList<(LoraPair Pair, LoraPairReport Report)> Compute(
        RoundRun state, IEnumerable<LoraPair> found, List<string> notes, bool withSpaces)
    {
        ILookup<bool, LoraPair> byWork = found.ToLookup(pair => pair.Rank * state.Clients.Count <= MaximumStackedRank);
        LoraPair[] pairs = [.. byWork[true]];
        if (LoraPairs.Describe(byWork[false]) is { } leftOut)
            notes.Add($"The cross-term of {leftOut} was left out: clients times rank are more than {MaximumStackedRank}.");

        var reports = new (LoraPair, LoraPairReport)[pairs.Length];
        RoundRun onOneThread = state.OnOneThread();
        using Workers oneThread = onOneThread.Settings.Workers;
        state.Settings.Workers.Run(reports.Length, parallel: true, (i, scratch) =>
            reports[i] = (pairs[i], Describe(onOneThread, pairs[i], scratch, withSpaces)));
        return reports;
    }

    private static LoraPairReport Describe(RoundRun state, LoraPair pair, Scratch scratch, bool withSpaces)
    {
        var report = new LoraPairReport(pair.Module, Measure(state, pair, scratch));
        if (!withSpaces)
            return report;
        var form = new PairForm(pair.Rank, pair.Scaling ?? double.NaN, double.NaN);
        using var context = new PairContext(state, pair, [.. state.Clients.Select(_ => form)], form, [], scratch);
        return PairFigures.MeasureSpaces(context, report);
    }

    private static double Measure(RoundRun state, LoraPair pair, Scratch scratch)
    {
        int rank = (int)pair.Rank, vectors = (state.Clients.Count + 1) * rank;
        double* gramOfA = ComputeGram(state, pair.A, rank, pair.Inputs, transposed: false, scratch);
        double* gramOfB = ComputeGram(state, pair.B, rank, pair.Outputs, transposed: true, scratch);
        double[] weights = [.. Enumerable.Range(0, vectors).Select(i => i < rank ? 1 : state.Clients[i / rank - 1].Share)];
        double whole = 0, centered = 0;
        for (int i = 0; i < vectors; i++)
        {
            double mean = SumProducts(i, 0, Math.Min(i + 1, rank)), own = SumProducts(i, rank, i + 1);
            (whole, centered) = (whole + mean + own, centered + own);
        }

        return whole > 0 ? Math.Sqrt(Math.Max(centered, 0) / whole) : 0;

        // the products of vector i with the vectors first .. end - 1, none above i; a pair of two vectors occurs twice
        // in the square
        double SumProducts(int i, int first, int end)
        {
            long row = GramPairs.Index(0, i);
            double sum = 0;
            for (int j = first; j < end; j++)
                sum += (i == j ? 1 : 2) * weights[j] * gramOfA[row + j] * gramOfB[row + j];
            return weights[i] * sum;
        }
    }

    /// <summary>
    /// Computes the inner products of a factor's vectors (rows of A, columns of B): first the vectors of the clients'
    /// mean, then each client's difference from it. As sum p_k B_k A_k = mean(B) mean(A) + sum p_k (B_k - mean(B)) (A_k
    /// - mean(A)), the last sum is the cross-term without cancellation. The pairs are in the order of
    /// <see cref="GramPairs"/>; one block of the vectors is in memory at a time.
    /// </summary>
    private static double* ComputeGram(RoundRun state, TensorInfo factor, int rank, long length, bool transposed, Scratch scratch)
    {
        using var context = new OpenTensorContext(state, factor, factor);
        PanelReader[] inputs = context.Inputs(UpdateForm.Parameters, withGlobal: false);
        context.Passes.Preload(inputs);
        int vectors = (inputs.Length + 1) * rank;
        double* gram = Take(GramPairs.Count(vectors)), block = Take((long)vectors * BlockLength);
        var products = new Span<double>(gram, GramPairs.Count(vectors));
        var panels = new TensorPanel[vectors];
        for (int i = 0; i < vectors; i++)
            panels[i] = new TensorPanel(block + i * BlockLength, DType.F64);
        Fill(inputs);
        // scaling does not change the report, which is a quotient: if products overflow, the values are scaled before
        // them; products that are far from 1 are scaled before they are multiplied with those of the other factor
        if (products.ContainsAnyExceptInRange(-double.MaxValue, double.MaxValue))
            Fill(context.Passes.Scaled(inputs, SumScale.Down));
        double largest = TensorPrimitives.MaxMagnitude<double>(products);
        if (largest is > LargestProduct or < 1 / LargestProduct and > 0 && double.IsFinite(largest))
            TensorPrimitives.Multiply(products, Math.ScaleB(1, -Math.ILogB(largest)), products);
        return gram;

        void Fill(PanelReader[] from)
        {
            new Span<double>(gram, GramPairs.Count(vectors)).Clear();
            for (long at = 0; at < length; at += BlockLength)
            {
                state.Settings.Workers.CancellationToken.ThrowIfCancellationRequested();
                int width = (int)Math.Min(BlockLength, length - at);
                state.Settings.Workers.Run(from.Length, parallel: false, (k, own) =>
                    Read(state.Settings.Backend, from[k], block + (k + 1) * rank * BlockLength, rank, at, width, length, transposed, own));
                Center(block, state.Clients, rank * BlockLength);
                Cpu.AddGram(panels, new PanelGeometry(1, width, GroupsAreColumns: false), new GroupValues(gram, 1));
            }
        }

        double* Take(long count)
        {
            double* taken = (double*)scratch.Take(count * sizeof(double));
            NativeMemory.Clear(taken, (nuint)count * sizeof(double));
            return taken;
        }
    }

    private static void Read(
        IComputeBackend backend, PanelReader input, double* vectors, int rank, long at, int width, long length, bool transposed,
        Scratch scratch)
    {
        if (!transposed)
        {
            for (int r = 0; r < rank; r++)
                Widen(input.Read(r * length + at, width, scratch), width, vectors + r * BlockLength);
            return;
        }

        double* wide = (double*)scratch.Take((long)width * rank * sizeof(double));
        Widen(input.Read(at * rank, width * rank, scratch), width * rank, wide);
        for (int r = 0; r < rank; r++)
        {
            for (int i = 0; i < width; i++)
                vectors[r * BlockLength + i] = wide[i * rank + r];
        }

        void Widen(TensorPanel panel, int count, double* target) =>
            backend.WeightedSum([panel], [1], 1, count, new TensorPanel(target, DType.F64));
    }

    /// <summary>Computes the clients' mean into the first block and subtracts it from the others.</summary>
    private static void Center(double* blocks, IReadOnlyList<RoundClient> clients, int length)
    {
        var mean = new Span<double>(blocks, length);
        mean.Clear();
        for (int k = 0; k < clients.Count; k++)
            TensorPrimitives.FusedMultiplyAdd(GetBlock(k), clients[k].Share, mean, mean);
        for (int k = 0; k < clients.Count; k++)
            TensorPrimitives.Subtract(GetBlock(k), mean, GetBlock(k));

        Span<double> GetBlock(int k) => new(blocks + (k + 1) * length, length);
    }
}
