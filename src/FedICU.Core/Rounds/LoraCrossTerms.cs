using System.Numerics.Tensors;
using System.Runtime.Intrinsics;

namespace FedICU;

/// <summary>
/// What averaging LoRA's factors apart does to their product: ||mean(B A) - mean(B) mean(A)|| / ||mean(B A)|| in the Frobenius norm, the means
/// weighted by the clients' shares, computed through the factors and never dense.
/// </summary>
internal static class LoraCrossTerms
{
    // the Gram matrices are (clients x rank)^2; beyond this they would cost more than the round
    private const int MaximumStackedRank = 1024;
    private const string A = ".lora_A";
    private const string B = ".lora_B";

    public static List<LoraPairReport> Compute(RoundState state, IReadOnlyList<TensorInfo> tensors, List<string> notes)
    {
        var reports = new List<LoraPairReport>();
        var byName = tensors.ToDictionary(tensor => tensor.Name, StringComparer.Ordinal);
        foreach (TensorInfo a in tensors)
        {
            int at = a.Name.LastIndexOf(A, StringComparison.Ordinal);
            if (at < 0 || a.Shape.Rank != 2 || !byName.TryGetValue(a.Name[..at] + B + a.Name[(at + A.Length)..], out TensorInfo? b) ||
                b.Shape.Rank != 2 || b.Shape.Dimensions[1] != a.Shape.Dimensions[0])
                continue;
            long stacked = a.Shape.Dimensions[0] * state.Clients.Count;
            if (stacked > MaximumStackedRank)
            {
                notes.Add($"The cross-term of '{a.Name[..at]}' was left out: {stacked} stacked ranks are more than {MaximumStackedRank}.");
                continue;
            }

            reports.Add(new LoraPairReport(a.Name[..at], Measure(state, a, b)));
        }

        return reports;
    }

    private static double Measure(RoundState state, TensorInfo a, TensorInfo b)
    {
        int rank = (int)a.Shape.Dimensions[0];
        using var contextA = new TensorContext(state, a, a);
        using var contextB = new TensorContext(state, b, b);
        double[][] rowsOfA = Rows(contextA, rank, (int)a.Shape.Dimensions[1], transposed: false);
        double[][] columnsOfB = Rows(contextB, rank, (int)b.Shape.Dimensions[0], transposed: true);
        double[] shares = [.. state.Clients.Select(client => client.Share)];
        double whole = ProductNorm(state, rowsOfA, columnsOfB, shares, rank);
        // sum p_k B_k A_k - mean(B) mean(A) = sum p_k (B_k - mean(B)) (A_k - mean(A)): the same without cancellation
        Center(rowsOfA, shares, rank);
        Center(columnsOfB, shares, rank);
        return whole > 0 ? ProductNorm(state, rowsOfA, columnsOfB, shares, rank) / whole : 0;
    }

    /// <summary>The rank-sized side of each client's factor as vectors, clients one after the other.</summary>
    private static double[][] Rows(TensorContext context, int rank, int length, bool transposed)
    {
        var rows = new double[context.Clients.Count * rank][];
        PanelReader[] inputs = context.Inputs(UpdateForm.Parameters, withGlobal: false);
        for (int k = 0; k < inputs.Length; k++)
        {
            double[] values = context.ReadAll(inputs[k]);
            for (int r = 0; r < rank; r++)
            {
                double[] row = new double[length];
                if (transposed)
                {
                    for (int i = 0; i < length; i++)
                        row[i] = values[i * rank + r];
                }
                else
                {
                    values.AsSpan(r * length, length).CopyTo(row);
                }

                rows[k * rank + r] = row;
            }
        }

        return rows;
    }

    private static void Center(double[][] rows, double[] shares, int rank)
    {
        for (int r = 0; r < rank; r++)
        {
            double[] mean = new double[rows[r].Length];
            for (int k = 0; k < shares.Length; k++)
                TensorPrimitives.FusedMultiplyAdd(rows[k * rank + r], shares[k], mean, mean);
            for (int k = 0; k < shares.Length; k++)
                TensorPrimitives.Subtract(rows[k * rank + r], mean, rows[k * rank + r]);
        }
    }

    /// <summary>||sum_k p_k B_k A_k||: the inner product of the stacked factors' two Gram matrices.</summary>
    private static double ProductNorm(RoundState state, double[][] rowsOfA, double[][] columnsOfB, double[] shares, int rank)
    {
        double[] partial = new double[rowsOfA.Length];
        state.Workers.Run(rowsOfA.Length, rowsOfA.Length > rank, (i, _) =>
        {
            double sum = 0;
            for (int j = 0; j < rowsOfA.Length; j++)
                sum += shares[j / rank] * Dot(rowsOfA[i], rowsOfA[j]) * Dot(columnsOfB[i], columnsOfB[j]);
            partial[i] = shares[i / rank] * sum;
        });
        return Math.Sqrt(Math.Max(partial.Sum(), 0));
    }

    /// <summary>Eight lanes at every vector width, so that the report too has the same digits everywhere.</summary>
    private static double Dot(double[] x, double[] y)
    {
        Vector512<double> lanes = Vector512<double>.Zero;
        int i = 0;
        for (; i <= x.Length - Vector512<double>.Count; i += Vector512<double>.Count)
            lanes = Vector512.FusedMultiplyAdd(Vector512.LoadUnsafe(ref x[i]), Vector512.LoadUnsafe(ref y[i]), lanes);
        double sum = 0;
        for (int lane = 0; lane < Vector512<double>.Count; lane++)
            sum += lanes[lane];
        for (; i < x.Length; i++)
            sum = Math.FusedMultiplyAdd(x[i], y[i], sum);
        return sum;
    }
}
