namespace FedICU.Compute;

/// <summary>Finds the k-th largest of finite numbers exactly, by histograms of their bits from the top.</summary>
internal static class RadixSelection
{
    private const int DigitBits = 16;

    /// <summary>The <paramref name="count"/>-th largest key.</summary>
    /// <param name="keys">Finite numbers.</param>
    /// <param name="count">1 .. keys.Length.</param>
    /// <param name="above">How many keys are larger than the one returned: fewer than count.</param>
    public static double Largest(ReadOnlySpan<double> keys, long count, out long above)
    {
        above = 0;
        ulong prefix = 0;
        long[] histogram = new long[1 << DigitBits];
        for (int shift = 64 - DigitBits; shift >= 0; shift -= DigitBits)
        {
            Array.Clear(histogram);
            foreach (double key in keys)
            {
                ulong bits = Order(key);
                // the digits above this one are already decided
                if (shift == 64 - DigitBits || bits >> (shift + DigitBits) == prefix)
                    histogram[(int)(bits >> shift & ((1 << DigitBits) - 1))]++;
            }

            int digit = histogram.Length - 1;
            while (above + histogram[digit] < count)
                above += histogram[digit--];
            prefix = prefix << DigitBits | (uint)digit;
        }

        return Value(prefix);
    }

    // bits in the order of the numbers: negative ones reversed below the others; the two zeros are one
    private static ulong Order(double key)
    {
        ulong bits = BitConverter.DoubleToUInt64Bits(key + 0.0);
        return bits >> 63 == 0 ? bits | 1UL << 63 : ~bits;
    }

    private static double Value(ulong order) => BitConverter.UInt64BitsToDouble(order >> 63 == 0 ? ~order : order & ~(1UL << 63));
}
