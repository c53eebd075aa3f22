using System.Numerics.Tensors;
using FedICU.Strategies.Abstractions;

namespace FedICU.Lora;

/// <summary>Writes the best factors of a rank of a decomposed product.</summary>
internal static unsafe class FactorWriter
{
    // a singular value below this share of the largest counts as 0: its vectors are rounding errors
    private const double ZeroShare = 1e-10;

    // entries of a row that are this close to its largest count as equal to it, so that rounding does not decide a sign
    private const double SameMagnitude = 1e-6;

    /// <summary>Writes both factors of the pair.</summary>
    /// <returns>The norms of what was left out, and of the product.</returns>
    public static (double Error, double Norm) Write(PairContext pair, ProductDecomposition product, FactorSplit split)
    {
        (long inputs, long outputs) = (pair.Pair.Inputs, pair.Pair.Outputs);
        double[] values = product.Values;
        int rank = (int)pair.Written.Rank;
        double smallest = ZeroShare * values.DefaultIfEmpty().Max();
        int live = values.Take(rank).Count(value => value > smallest);
        double* left = product.TakeLeft(live), right = product.TakeRight(live);
        double* a = pair.TakeZeros(rank * inputs), b = pair.TakeZeros(rank * outputs);
        for (int i = 0; i < live; i++)
        {
            double value = values[i] / Math.Abs(pair.Written.Scaling), root = Math.Sqrt(value);
            (double ofB, double ofA) = split switch
            {
                FactorSplit.B => (value, 1.0),
                FactorSplit.A => (1.0, value),
                _ => (root, root),
            };
            double sign = SignOf(right + i * inputs, inputs);
            pair.Combine([new(right + i * inputs, DType.F64)], [sign * ofA], inputs, a + i * inputs);
            pair.Combine([new(left + i * outputs, DType.F64)], [sign * ofB * Math.Sign(pair.Written.Scaling)], outputs, b + i * outputs);
        }

        KeepGlobalRows(pair, a, live, rank);
        pair.WriteA(a);
        pair.WriteColumnsOfB(b);
        return (NormOf(values.AsSpan(live)), NormOf(values));
    }

    /// <summary>
    /// Rows without a product keep the global model's A, beside columns of zeros in B, so that training can use them.
    /// </summary>
    private static void KeepGlobalRows(PairContext pair, double* a, int live, int rank)
    {
        long inputs = pair.Pair.Inputs;
        int end = (int)Math.Min(rank, pair.Pair.Rank);
        if (live >= end)
            return;
        double* global = pair.Take(pair.Pair.Rank * inputs);
        pair.ReadGlobalA(global);
        for (int i = live; i < end; i++)
            pair.Combine([new(global + i * inputs, DType.F64)], [1], inputs, a + i * inputs);
    }

    /// <summary>Returns the sign that makes the row's first entry of the largest magnitude positive.</summary>
    private static double SignOf(double* row, long length)
    {
        double largest = 0;
        for (long i = 0; i < length; i++)
            largest = Math.Max(largest, Math.Abs(row[i]));
        for (long i = 0; i < length; i++)
        {
            if (Math.Abs(row[i]) >= largest * (1 - SameMagnitude))
                return row[i] < 0 ? -1 : 1;
        }

        return 1;
    }

    private static double NormOf(ReadOnlySpan<double> values)
    {
        double largest = values.IsEmpty ? 0 : TensorPrimitives.MaxMagnitude(values);
        if (largest == 0)
            return 0;
        double sum = 0;
        foreach (double value in values)
            sum += value / largest * (value / largest);
        return largest * Math.Sqrt(sum);
    }
}
