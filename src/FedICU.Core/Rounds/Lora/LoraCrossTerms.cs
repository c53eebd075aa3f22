using System.Numerics.Tensors;
using System.Runtime.InteropServices;
using FedICU.Compute;
using FedICU.Compute.Simd;
using FedICU.Memory;
using FedICU.Panels;
using FedICU.Strategies.Abstractions;

namespace FedICU.Rounds.Lora;

/// <summary>
/// What averaging LoRA's factors separately does to their product: ||mean(B A) - mean(B) mean(A)|| / ||mean(B A)|| in the Frobenius norm,
/// the means weighted by the clients' shares, computed through the factors and never dense.
/// </summary>
internal static unsafe class LoraCrossTerms
{
    // the work grows with (clients x rank)^2: here two minutes of two cores for a model of 7 billion parameters
    private const int MaximumStackedRank = 2048;
    // products of two such numbers, and sums of 2^30 of them, are far from both ends of float64's range
    private const double LargestProduct = 1e120;
    // so much of each vector at a time: a few hundred vectors stay in the second cache
    private const int BlockLength = 256;
    // vectors whose products are summed side by side in registers, and how many of the others with them
    private const int Abreast = 4, Others = 2, Lanes = 8;

    /// <summary>Measures each pair; what is left out is noted.</summary>
    public static IReadOnlyList<LoraPairReport> Compute(RoundState state, IEnumerable<LoraPair> found, List<string> notes)
    {
        ILookup<bool, LoraPair> byWork = found.ToLookup(pair => pair.Rank * state.Clients.Count <= MaximumStackedRank);
        LoraPair[] pairs = [.. byWork[true]];
        if (LoraPairs.Name(byWork[false]) is { } leftOut)
            notes.Add($"The cross-term of {leftOut} was left out: clients times rank are more than {MaximumStackedRank}.");

        var reports = new LoraPairReport[pairs.Length];
        RoundState sideBySide = state.OnOneThread();
        using Workers alone = sideBySide.Workers;
        state.Workers.Run(reports.Length, parallel: true, (i, scratch) =>
            reports[i] = new LoraPairReport(pairs[i].Module, Measure(sideBySide, pairs[i], scratch)));
        return reports;
    }

    private static double Measure(RoundState state, LoraPair pair, Scratch scratch)
    {
        int rank = (int)pair.Rank, vectors = (state.Clients.Count + 1) * rank;
        double* ofA = Gram(state, pair.A, rank, pair.Inputs, transposed: false, scratch);
        double* ofB = Gram(state, pair.B, rank, pair.Outputs, transposed: true, scratch);
        double[] weights = [.. Enumerable.Range(0, vectors).Select(i => i < rank ? 1 : state.Clients[i / rank - 1].Share)];
        double whole = 0, centered = 0;
        for (int i = 0; i < vectors; i++)
        {
            double mean = Products(i, 0, Math.Min(i + 1, rank)), own = Products(i, rank, i + 1);
            (whole, centered) = (whole + mean + own, centered + own);
        }

        return whole > 0 ? Math.Sqrt(Math.Max(centered, 0) / whole) : 0;

        // of one vector with some up to it, each pair counted as often as it stands in the square
        double Products(int i, int first, int end)
        {
            long row = GramPairs.Index(0, i);
            double sum = 0;
            for (int j = first; j < end; j++)
                sum += (i == j ? 1 : 2) * weights[j] * ofA[row + j] * ofB[row + j];
            return weights[i] * sum;
        }
    }

    /// <summary>
    /// The inner products of a factor's vectors on its rank-sized side, those of the clients' mean first, then of what each client's differ from it:
    /// sum p_k B_k A_k = mean(B) mean(A) + sum p_k (B_k - mean(B)) (A_k - mean(A)), and the last sum is the cross-term without cancellation. The vectors j up to i,
    /// as <see cref="GramPairs"/> has them; a block of the vectors is in memory at a time.
    /// </summary>
    private static double* Gram(RoundState state, TensorInfo factor, int rank, long length, bool transposed, Scratch scratch)
    {
        using var context = new OpenTensorContext(state, factor, factor);
        PanelReader[] inputs = context.Inputs(UpdateForm.Parameters, withGlobal: false);
        context.Preload(inputs);
        int vectors = ((inputs.Length + 1) * rank + Abreast - 1) / Abreast * Abreast;
        double* gram = Take(GramPairs.Count(vectors)), block = Take((long)vectors * BlockLength);
        var products = new Span<double>(gram, GramPairs.Count(vectors));
        Fill(inputs);
        // the report is a quotient, which no factor changes: large values are scaled before their products, and all products before those
        // of the other factor
        if (products.ContainsAnyExceptInRange(-double.MaxValue, double.MaxValue))
            Fill(context.Scaled(inputs, SumScale.Down));
        double largest = TensorPrimitives.MaxMagnitude<double>(products);
        if (largest is > LargestProduct or < 1 / LargestProduct and > 0 && double.IsFinite(largest))
            TensorPrimitives.Multiply(products, Math.ScaleB(1, -Math.ILogB(largest)), products);
        return gram;

        void Fill(PanelReader[] from)
        {
            new Span<double>(gram, GramPairs.Count(vectors)).Clear();
            for (long at = 0; at < length; at += BlockLength)
            {
                state.Workers.CancellationToken.ThrowIfCancellationRequested();
                int width = (int)Math.Min(BlockLength, length - at);
                if (width < BlockLength)
                    new Span<double>(block, vectors * BlockLength).Clear();
                state.Workers.Run(from.Length, parallel: false, (k, own) => Read(state.Backend, from[k], block + (k + 1) * rank * BlockLength, rank, at, width, length, transposed, own));
                Center(block, state.Clients, rank * BlockLength);
                AddGram(block, vectors, gram);
            }
        }

        double* Take(long count)
        {
            double* taken = (double*)scratch.Take(count * sizeof(double));
            NativeMemory.Clear(taken, (nuint)count * sizeof(double));
            return taken;
        }
    }

    private static void Read(IComputeBackend backend, PanelReader input, double* vectors, int rank, long at, int width, long length, bool transposed, Scratch scratch)
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

        void Widen(TensorPanel panel, int count, double* target) => backend.WeightedSum([panel], [1], 1, count, new TensorPanel(target, DType.F64));
    }

    /// <summary>The clients' mean, the first of the blocks, and the others less it.</summary>
    private static void Center(double* blocks, IReadOnlyList<RoundClient> clients, int length)
    {
        var mean = new Span<double>(blocks, length);
        mean.Clear();
        for (int k = 0; k < clients.Count; k++)
            TensorPrimitives.FusedMultiplyAdd(Of(k), clients[k].Share, mean, mean);
        for (int k = 0; k < clients.Count; k++)
            TensorPrimitives.Subtract(Of(k), mean, Of(k));

        Span<double> Of(int k) => new(blocks + (k + 1) * length, length);
    }

    /// <summary>Eight lanes at every vector width, so that the report too has the same digits everywhere.</summary>
    private static void AddGram(double* block, int vectors, double* gram)
    {
        for (int i = 0; i < vectors; i += Abreast)
        {
            double* x = block + i * BlockLength;
            for (int j = 0; j < i + Abreast; j += Others)
            {
                double* y = block + j * BlockLength;
                Lanes512 a0 = default, a1 = default, b0 = default, b1 = default, c0 = default, c1 = default, d0 = default, d1 = default;
                for (int at = 0; at < BlockLength; at += Lanes)
                {
                    Lanes512 y0 = Lanes512.Load(y + at), y1 = Lanes512.Load(y + BlockLength + at), from = Lanes512.Load(x + at);
                    (a0, a1) = (Lanes512.FusedMultiplyAdd(from, y0, a0), Lanes512.FusedMultiplyAdd(from, y1, a1));
                    from = Lanes512.Load(x + BlockLength + at);
                    (b0, b1) = (Lanes512.FusedMultiplyAdd(from, y0, b0), Lanes512.FusedMultiplyAdd(from, y1, b1));
                    from = Lanes512.Load(x + 2 * BlockLength + at);
                    (c0, c1) = (Lanes512.FusedMultiplyAdd(from, y0, c0), Lanes512.FusedMultiplyAdd(from, y1, c1));
                    from = Lanes512.Load(x + 3 * BlockLength + at);
                    (d0, d1) = (Lanes512.FusedMultiplyAdd(from, y0, d0), Lanes512.FusedMultiplyAdd(from, y1, d1));
                }

                Add(i, a0, a1);
                Add(i + 1, b0, b1);
                Add(i + 2, c0, c1);
                Add(i + 3, d0, d1);

                void Add(int row, Lanes512 first, Lanes512 second)
                {
                    double* sums = gram + GramPairs.Index(j, row);
                    if (j <= row)
                        sums[0] += Lanes512.Sum(first);
                    if (j < row)
                        sums[1] += Lanes512.Sum(second);
                }
            }
        }
    }
}
