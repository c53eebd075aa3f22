using System.Numerics;

namespace FedICU.Compute;

/// <summary>
/// Computes weighted sums of elements whose plain sum exceeds the range of float64. Weights and divisor are multiplied
/// by one power of two, so that the sum stays below the largest input. That multiplication is exact, so the quotient is
/// the same as with a wider exponent.
/// </summary>
internal static unsafe class SumScale
{
    /// <summary>2^600, a factor for values whose squares underflow.</summary>
    public const double Up = 4.149515568880993e180;

    /// <summary>
    /// 2^-600, a factor for values whose squares overflow. Chosen: a sum of up to 2^60 squares overflows only with a
    /// value above 2^482; the square of 2^-600 times such a value is far from both ends of the range.
    /// </summary>
    public const double Down = 1 / Up;

    /// <summary>The smallest normal float64, 2^-1022.</summary>
    private const double SmallestNormal = 2.2250738585072014E-308;

    /// <summary>The distance from 1 to the next float64, 2^-52.</summary>
    private const double Unit = 2.220446049250313E-16;

    /// <summary>
    /// Returns the factor of the weights, a power of two below 1; 1 if no sum of these inputs can overflow, or if the
    /// divisor would lose digits.
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
    /// Returns the factor with which <paramref name="count"/> weights of up to <paramref name="largest"/> have a sum of
    /// at most one half.
    /// </summary>
    public static double Of(double largest, int count)
    {
        if (!double.IsFinite(largest))
            return 1;
        // the sum of the weights is below 2^exponent; half of that leaves room for the roundings of the partial sums
        int exponent = Math.ILogB(largest) + 1 + BitOperations.Log2((uint)count) + 1;
        return Math.ScaleB(1, -Math.Max(exponent + 1, 1));
    }

    /// <summary>Computes element i, with weights and divisor scaled.</summary>
    public static double Element(ReadOnlySpan<TensorPanel> inputs, ReadOnlySpan<double> weights, double divisor, double scale, long i)
    {
        double sum = weights[0] * scale * Rounding.Read(inputs[0].Data, inputs[0].DType, i);
        for (int k = 1; k < inputs.Length; k++)
            sum = Math.FusedMultiplyAdd(weights[k] * scale, Rounding.Read(inputs[k].Data, inputs[k].DType, i), sum);
        return scale == 1 ? sum / divisor : Quotient(sum, divisor * scale, inputs.Length);
    }

    /// <summary>
    /// Computes the quotient of a scaled sum. A mean of values near the largest float64 may exceed it by rounding
    /// errors; it is then the largest float64.
    /// </summary>
    public static double Quotient(double sum, double divisor, int count)
    {
        double quotient = sum / divisor;
        if (Math.Abs(quotient) <= double.MaxValue)
            return quotient;
        // each term and the division add at most half a unit in the last place
        bool isRounding = Math.Abs(sum / (4 * divisor)) <= double.MaxValue / 4 * (1 + (count + 2) * Unit);
        return !isRounding ? quotient : quotient > 0 ? double.MaxValue : -double.MaxValue;
    }

    /// <summary>
    /// Multiplies a result that was computed with scaled inputs by the inverse of their factor. As in
    /// <see cref="Quotient"/>, the result is the largest float64 if only rounding errors exceed it.
    /// </summary>
    public static double Restore(double scaled, double factor)
    {
        // relative; chosen: far above the rounding errors of a combination, far below the precision of any output type
        const double Roundings = 1e-12;
        double value = scaled * factor;
        bool isRounding = double.IsInfinity(value) && Math.Abs(scaled) <= double.MaxValue / factor * (1 + Roundings);
        return isRounding ? Math.CopySign(double.MaxValue, scaled) : value;
    }

    /// <summary>
    /// Computes the outputs whose plain sum is not finite again; returns how many outputs are still not finite.
    /// </summary>
    public static long Repair(
        ReadOnlySpan<TensorPanel> inputs, ReadOnlySpan<double> weights, double divisor, double scale, int length, TensorPanel output)
    {
        long nonFinite = 0;
        for (int i = 0; i < length; i++)
        {
            if (double.IsFinite(Rounding.Read(output.Data, output.DType, i)))
                continue;
            // a finite sum that is out of the output type's range stays as it is
            if (!double.IsFinite(Element(inputs, weights, divisor, 1, i)))
                Rounding.Write(output.Data, output.DType, i, Element(inputs, weights, divisor, scale, i));
            nonFinite += double.IsFinite(Rounding.Read(output.Data, output.DType, i)) ? 0 : 1;
        }

        return nonFinite;
    }

    /// <summary>Returns whether the output overwrites one of the inputs.</summary>
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
