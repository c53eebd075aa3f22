using System.Numerics;

namespace FedICU.Compute;

/// <summary>
/// The weighted sum of elements whose plain sum is larger than float64 holds. Weights and divisor are multiplied by one power of two, so
/// that the sum
/// stays below the largest input. That multiplication is exact, and so the quotient is the one that a wider exponent would have given.
/// </summary>
internal static unsafe class SumScale
{
    /// <summary>A factor for values whose squares are larger than float64 holds, and its inverse for values whose squares vanish.</summary>
    /// <remarks>A sum of up to 2^60 squares overflows only with a value above 2^482: times 2^-600, its square lies far from both ends of
    /// the range.</remarks>
    public const double Down = 1 / Up, Up = 4.149515568880993e180;

    private const double SmallestNormal = 2.2250738585072014E-308, Unit = 2.220446049250313E-16;

    /// <summary>
    /// The factor of the weights, a power of two below 1; 1 where no sum of these inputs can overflow, or where a factor would cost the
    /// divisor digits.
    /// </summary>
    public static double Of(ReadOnlySpan<TensorPanel> inputs, ReadOnlySpan<double> weights, double divisor)
    {
        double largest = 0;
        foreach (double weight in weights)
            largest = Math.Max(largest, Math.Abs(weight));
        bool isLarge = largest > double.MaxValue / 2 / float.MaxValue / weights.Length;
        foreach (TensorPanel input in inputs)
            isLarge |= input.DType == DType.F64;
        double scale = isLarge ? Of(largest, weights.Length) : 1;
        return Math.Abs(divisor * scale) >= SmallestNormal ? scale : 1;
    }

    /// <summary>
    /// The factor by which <paramref name="count"/> weights up to <paramref name="largest"/> have a sum of at most a half.
    /// </summary>
    public static double Of(double largest, int count)
    {
        if (!double.IsFinite(largest))
            return 1;
        // the sum of the weights is below 2^exponent; half of that leaves room for the roundings of the partial sums
        int exponent = Math.ILogB(largest) + 1 + BitOperations.Log2((uint)count) + 1;
        return Math.ScaleB(1, -Math.Max(exponent + 1, 1));
    }

    /// <summary>Element i, with weights and divisor scaled.</summary>
    public static double Element(ReadOnlySpan<TensorPanel> inputs, ReadOnlySpan<double> weights, double divisor, double scale, long i)
    {
        double sum = weights[0] * scale * Rounding.Read(inputs[0].Data, inputs[0].DType, i);
        for (int k = 1; k < inputs.Length; k++)
            sum = Math.FusedMultiplyAdd(weights[k] * scale, Rounding.Read(inputs[k].Data, inputs[k].DType, i), sum);
        return scale == 1 ? sum / divisor : Quotient(sum, divisor * scale, inputs.Length);
    }

    /// <summary>
    /// The quotient of a scaled sum. A mean of the largest float64 may pass it by the roundings of its sum; then it is the largest float64.
    /// </summary>
    public static double Quotient(double sum, double divisor, int count)
    {
        double quotient = sum / divisor;
        if (Math.Abs(quotient) <= double.MaxValue)
            return quotient;
        // each of the terms and the division add half a unit in the last place at most
        bool isRounding = Math.Abs(sum / (4 * divisor)) <= double.MaxValue / 4 * (1 + (count + 2) * Unit);
        return !isRounding ? quotient : quotient > 0 ? double.MaxValue : -double.MaxValue;
    }

    /// <summary>
    /// A result that was computed with scaled inputs, times the inverse of their factor; as in <see cref="Quotient"/> the largest float64
    /// where roundings alone pass it.
    /// </summary>
    public static double Restore(double scaled, double factor)
    {
        // far above the roundings of a combination, far below what any type would show
        const double Roundings = 1e-12;
        double value = scaled * factor;
        return double.IsInfinity(value) && Math.Abs(scaled) <= double.MaxValue / factor * (1 + Roundings) ? Math.CopySign(double.MaxValue, scaled) : value;
    }

    /// <summary>Computes again the outputs whose plain sum is not finite; returns how many outputs are still not finite.</summary>
    public static long Repair(ReadOnlySpan<TensorPanel> inputs, ReadOnlySpan<double> weights, double divisor, double scale, int length, TensorPanel output)
    {
        long nonFinite = 0;
        for (int i = 0; i < length; i++)
        {
            if (double.IsFinite(Rounding.Read(output.Data, output.DType, i)))
                continue;
            // a finite sum that the output's type does not hold stays as it is
            if (!double.IsFinite(Element(inputs, weights, divisor, 1, i)))
                Rounding.Write(output.Data, output.DType, i, Element(inputs, weights, divisor, scale, i));
            nonFinite += double.IsFinite(Rounding.Read(output.Data, output.DType, i)) ? 0 : 1;
        }

        return nonFinite;
    }

    /// <summary>Whether the output is written over one of the inputs.</summary>
    public static bool Overwrites(ReadOnlySpan<TensorPanel> inputs, TensorPanel output)
    {
        foreach (TensorPanel input in inputs)
        {
            if (input.Data == output.Data)
                return true;
        }

        return false;
    }
}
