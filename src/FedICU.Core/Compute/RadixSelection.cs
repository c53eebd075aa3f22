namespace FedICU.Compute;

/// <summary>
/// Finds the k-th largest of many numbers exactly, by histograms of their bits from the top: all numbers are looked at once for each digit, in parts of any
/// size and order, so that they need not be in one place.
/// </summary>
/// <param name="count">k, 1 .. the number of keys.</param>
internal sealed class RadixSelection(long count)
{
    /// <summary>The length of a histogram.</summary>
    public const int Digits = 1 << DigitBits;

    private const int DigitBits = 16;

    private ulong _prefix;
    private int _shift = 64 - DigitBits;

    /// <summary>False while another look at all keys is needed.</summary>
    public bool IsDone => _shift < 0;

    /// <summary>The k-th largest key, once done.</summary>
    public double Threshold => Value(_prefix);

    /// <summary>How many keys are larger than the threshold: fewer than k.</summary>
    public long Above { get; private set; }

    /// <summary>How many keys equal the threshold.</summary>
    public long Ties { get; private set; }

    /// <summary>Adds keys to a histogram of the next digit. Thread-safe for histograms of one's own.</summary>
    /// <param name="keys">Finite numbers.</param>
    /// <param name="histogram"><see cref="Digits"/> counts, added to.</param>
    public void Add(ReadOnlySpan<double> keys, long[] histogram)
    {
        foreach (double key in keys)
        {
            ulong bits = Order(key);
            // the digits above this one are already decided
            if (_shift == 64 - DigitBits || bits >> (_shift + DigitBits) == _prefix)
                histogram[(int)(bits >> _shift & (Digits - 1))]++;
        }
    }

    /// <summary>Decides the digit, from the histograms of all keys.</summary>
    public void Narrow(IReadOnlyCollection<long[]> histograms)
    {
        int digit = Digits - 1;
        while (Above + (Ties = histograms.Sum(histogram => histogram[digit])) < count)
        {
            Above += Ties;
            digit--;
        }

        _prefix = _prefix << DigitBits | (uint)digit;
        _shift -= DigitBits;
    }

    // bits in the order of the numbers: negative ones reversed below the others; the two zeros are one
    private static ulong Order(double key)
    {
        ulong bits = BitConverter.DoubleToUInt64Bits(key + 0.0);
        return bits >> 63 == 0 ? bits | 1UL << 63 : ~bits;
    }

    private static double Value(ulong order) => BitConverter.UInt64BitsToDouble(order >> 63 == 0 ? ~order : order & ~(1UL << 63));
}
