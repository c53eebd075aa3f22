using System.Numerics.Tensors;
using System.Runtime.Intrinsics;
using FedICU.Compute;
using FedICU.Safetensors;

namespace FedICU;

/// <summary>
/// What averaging LoRA's factors apart does to their product: ||mean(B A) - mean(B) mean(A)|| / ||mean(B A)|| in the Frobenius norm, the means
/// weighted by the clients' shares, computed through the factors and never dense.
/// </summary>
internal static class LoraCrossTerms
{
    // the work grows with (clients x rank)^2; beyond this it would take longer than the round
    private const int MaximumStackedRank = 1024;
    private const int BlockLength = 512;

    private static readonly (string A, string B)[] Factors = [(".lora_A", ".lora_B"), (".lora_embedding_A", ".lora_embedding_B")];

    public static List<LoraPairReport> Compute(RoundState state, IReadOnlyList<TensorInfo> tensors, List<string> notes)
    {
        var reports = new List<LoraPairReport>();
        var leftOut = new List<string>();
        var byName = tensors.ToDictionary(tensor => tensor.Name, StringComparer.Ordinal);
        foreach (TensorInfo a in tensors)
        {
            if (FindPartner(a, byName) is not var (module, b))
                continue;
            if (a.Shape.Dimensions[0] * state.Clients.Count > MaximumStackedRank)
                leftOut.Add(module);
            else
                reports.Add(new LoraPairReport(module, Measure(state, a, b)));
        }

        if (leftOut.Count > 0)
        {
            notes.Add($"The cross-term of {Sentence.Quote(leftOut[0])}{(leftOut.Count > 1 ? $" and of {Sentence.Count(leftOut.Count - 1, "more LoRA pair")}" : "")} was left out: " +
                $"clients times rank are more than {MaximumStackedRank}.");
        }

        return reports;
    }

    /// <summary>The module of a factor A [rank, inputs] and its factor B [outputs, rank]; null where the tensor is no such factor.</summary>
    private static (string Module, TensorInfo B)? FindPartner(TensorInfo a, Dictionary<string, TensorInfo> byName)
    {
        foreach ((string nameOfA, string nameOfB) in Factors)
        {
            int at = a.Name.LastIndexOf(nameOfA, StringComparison.Ordinal);
            if (at >= 0 && byName.TryGetValue(a.Name[..at] + nameOfB + a.Name[(at + nameOfA.Length)..], out TensorInfo? b) &&
                a.Shape.Rank == 2 && b.Shape.Rank == 2 && b.Shape.Dimensions[1] == a.Shape.Dimensions[0])
                return (a.Name[..at], b);
        }

        return null;
    }

    private static double Measure(RoundState state, TensorInfo a, TensorInfo b)
    {
        int rank = (int)a.Shape.Dimensions[0];
        double[] shares = [.. state.Clients.Select(client => client.Share)];
        (double[][] ofA, double[][] centeredA) = Grams(state, a, shares, rank, a.Shape.Dimensions[1], transposed: false);
        (double[][] ofB, double[][] centeredB) = Grams(state, b, shares, rank, b.Shape.Dimensions[0], transposed: true);
        double whole = ProductNorm(ofA, ofB, shares, rank);
        // sum p_k B_k A_k - mean(B) mean(A) = sum p_k (B_k - mean(B)) (A_k - mean(A)): the same without cancellation
        return whole > 0 ? ProductNorm(centeredA, centeredB, shares, rank) / whole : 0;
    }

    /// <summary>
    /// The inner products of all clients' vectors on the rank-sized side of a factor, one client after the other: of the vectors themselves, and of what
    /// differs from the clients' mean; each the triangle j up to i. A block of the vectors is in memory at a time.
    /// </summary>
    private static (double[][] Whole, double[][] Centered) Grams(RoundState state, TensorInfo factor, double[] shares, int rank, long length, bool transposed)
    {
        using var context = new OpenTensorContext(state, factor, factor);
        PanelReader[] inputs = context.Inputs(UpdateForm.Parameters, withGlobal: false);
        context.Preload(inputs);
        int vectors = inputs.Length * rank;
        double[][] whole = [.. Enumerable.Range(1, vectors).Select(count => new double[count])];
        double[][] centered = [.. whole.Select(row => new double[row.Length])];
        double[][] block = [.. whole.Select(_ => new double[BlockLength])];
        for (long at = 0; at < length; at += BlockLength)
        {
            int width = (int)Math.Min(BlockLength, length - at);
            state.Workers.Run(inputs.Length, (long)vectors * width >= Workers.WorthThreads, (k, scratch) =>
                Read(inputs[k], block.AsSpan(k * rank, rank), at, width, length, transposed, scratch));
            AddGram(state.Workers, block, width, whole);
            Center(block, shares, rank);
            AddGram(state.Workers, block, width, centered);
        }

        return (whole, centered);
    }

    private static unsafe void Read(PanelReader input, Span<double[]> vectors, long at, int width, long length, bool transposed, Scratch scratch)
    {
        int rank = vectors.Length;
        TensorPanel all = transposed ? input.Read(at * rank, width * rank, scratch) : default;
        for (int r = 0; r < rank; r++)
        {
            TensorPanel panel = transposed ? all : input.Read(r * length + at, width, scratch);
            for (int i = 0; i < width; i++)
                vectors[r][i] = Rounding.Read(panel.Data, panel.DType, transposed ? i * rank + r : i);
        }
    }

    private static void Center(double[][] vectors, double[] shares, int rank)
    {
        double[] mean = new double[BlockLength];
        for (int r = 0; r < rank; r++)
        {
            Array.Clear(mean);
            for (int k = 0; k < shares.Length; k++)
                TensorPrimitives.FusedMultiplyAdd(vectors[k * rank + r], shares[k], mean, mean);
            for (int k = 0; k < shares.Length; k++)
                TensorPrimitives.Subtract(vectors[k * rank + r], mean, vectors[k * rank + r]);
        }
    }

    private static void AddGram(Workers workers, double[][] vectors, int width, double[][] gram) =>
        workers.Run(vectors.Length, (long)vectors.Length * vectors.Length * width >= Workers.WorthThreads, (i, _) =>
        {
            for (int j = 0; j <= i; j++)
                gram[i][j] += Dot(vectors[i].AsSpan(0, width), vectors[j].AsSpan(0, width));
        });

    /// <summary>||sum_k p_k B_k A_k||: the inner product of the stacked factors' two Gram matrices.</summary>
    private static double ProductNorm(double[][] ofA, double[][] ofB, double[] shares, int rank)
    {
        double square = 0;
        for (int i = 0; i < ofA.Length; i++)
        {
            for (int j = 0; j <= i; j++)
                square += (i == j ? 1 : 2) * shares[i / rank] * shares[j / rank] * ofA[i][j] * ofB[i][j];
        }

        return Math.Sqrt(Math.Max(square, 0));
    }

    /// <summary>Eight lanes at every vector width, so that the report too has the same digits everywhere.</summary>
    private static double Dot(ReadOnlySpan<double> x, ReadOnlySpan<double> y)
    {
        Vector512<double> lanes = Vector512<double>.Zero;
        int i = 0;
        for (; i <= x.Length - Vector512<double>.Count; i += Vector512<double>.Count)
            lanes = Vector512.FusedMultiplyAdd(Vector512.Create(x[i..]), Vector512.Create(y[i..]), lanes);
        double sum = 0;
        for (int lane = 0; lane < Vector512<double>.Count; lane++)
            sum += lanes[lane];
        for (; i < x.Length; i++)
            sum = Math.FusedMultiplyAdd(x[i], y[i], sum);
        return sum;
    }
}
