namespace FedICU.Compute;

/// <summary>
/// The mean of one element's middle values, in scalar code: what <see cref="IComputeBackend.MiddleMean"/> means, and
/// what every backend computes for values that are not finite or overflow.
/// </summary>
internal static unsafe class MiddleValues
{
    /// <summary>Computes some elements of the panels, and writes each of them, rounded once.</summary>
    /// <param name="inputs">N panels.</param>
    /// <param name="trim">The values that are left out at each end.</param>
    /// <param name="start">The first element.</param>
    /// <param name="count">The number of elements.</param>
    /// <param name="output">Receives the elements.</param>
    /// <returns>The number of elements with an input, or an output, that is not finite.</returns>
    public static long Write(ReadOnlySpan<TensorPanel> inputs, int trim, long start, int count, TensorPanel output)
    {
        var values = new double[inputs.Length];
        var keys = new long[inputs.Length];
        long nonFinite = 0;
        for (long i = start; i < start + count; i++)
        {
            bool isFinite = true;
            for (int k = 0; k < values.Length; k++)
            {
                values[k] = Rounding.Read(inputs[k].Data, inputs[k].DType, i);
                isFinite &= double.IsFinite(values[k]);
            }

            Rounding.Write(output.Data, output.DType, i, Mean(values, keys, trim));
            isFinite &= double.IsFinite(Rounding.Read(output.Data, output.DType, i));
            nonFinite += isFinite ? 0 : 1;
        }

        return nonFinite;
    }

    private static double Mean(double[] values, long[] keys, int trim)
    {
        for (int k = 0; k < values.Length; k++)
            keys[k] = ToKey(BitConverter.DoubleToInt64Bits(values[k]));
        Array.Sort(keys);
        long lo = keys[trim], hi = keys[^(trim + 1)];
        if (lo == hi)
            return FromKey(lo);
        double mean = Mean(values, lo, hi, trim, 1);
        int kept = values.Length - 2 * trim;
        return double.IsFinite(mean) ? mean : Mean(values, lo, hi, trim, SumScale.Of(1, kept));
    }

    /// <summary>Computes the mean with values and divisor times a power of two.</summary>
    private static double Mean(double[] values, long lo, long hi, int trim, double scale)
    {
        double sum = 0;
        int atLo = -trim, atHi = -trim, kept = values.Length - 2 * trim;
        foreach (double value in values)
        {
            long key = ToKey(BitConverter.DoubleToInt64Bits(value));
            if (key <= lo)
                atLo++;
            else if (key >= hi)
                atHi++;
            else
                sum = Math.FusedMultiplyAdd(scale, value, sum);
        }

        sum = Math.FusedMultiplyAdd(atLo * scale, FromKey(lo), sum);
        sum = Math.FusedMultiplyAdd(atHi * scale, FromKey(hi), sum);
        return scale == 1 ? sum / kept : SumScale.Quotient(sum, kept * scale, kept);
    }

    /// <summary>
    /// Converts the bits of a float64 to an integer of the same order, and back: the magnitude's bits of negative
    /// numbers are inverted.
    /// </summary>
    private static long ToKey(long bits) => bits ^ (bits >> 63 & long.MaxValue);

    private static double FromKey(long key) => BitConverter.Int64BitsToDouble(ToKey(key));
}
