namespace FedICU.Compute;

/// <summary>
/// Finds the k-th largest of many numbers exactly, with histograms of their bits, from the highest digit down. Each
/// digit takes one pass over all numbers. They may be passed in parts of any size and order, so that they need not be
/// in memory together.
/// </summary>
/// <param name="count">k, from 1 to the number of keys.</param>
/// <param name="digitBits">The bits of a digit.</param>
internal sealed class RadixSelection(long count, int digitBits = RadixSelection.DigitBits)
{
    /// <summary>The length of a histogram: the number of values of a digit.</summary>
    public const int Digits = 1 << DigitBits;

    /// <summary>The bits of a digit. Chosen: four passes, and histograms of 512 KiB.</summary>
    private const int DigitBits = 16;

    // the first digit has the bits that are left
    private readonly int _first = 63 / digitBits * digitBits;
    private ulong _prefix;
    private int _shift = 63 / digitBits * digitBits;

    /// <summary>Gets whether the threshold is known; if not, another pass over all keys is needed.</summary>
    public bool IsDone => _shift < 0;

    /// <summary>Gets the k-th largest key, once <see cref="IsDone"/>.</summary>
    public double Threshold => Value(_prefix);

    /// <summary>Gets the number of keys larger than the threshold: fewer than k.</summary>
    public long Above { get; private set; }

    /// <summary>Gets the number of keys equal to the threshold.</summary>
    public long Ties { get; private set; }

    /// <summary>
    /// Adds keys to a histogram of the current digit. Thread-safe if each thread has its own histogram.
    /// </summary>
    /// <param name="keys">Finite numbers.</param>
    /// <param name="histogram">A count for each value of a digit, added to.</param>
    public void Add(ReadOnlySpan<double> keys, long[] histogram)
    {
        foreach (double key in keys)
        {
            ulong bits = Order(key);
            // only keys that share the higher digits found so far count
            if (_shift == _first || bits >> (_shift + digitBits) == _prefix)
                histogram[(int)(bits >> _shift & (1UL << digitBits) - 1)]++;
        }
    }

    /// <summary>Determines the current digit from the histograms of all keys, and moves to the next.</summary>
    public void Narrow(IReadOnlyCollection<long[]> histograms)
    {
        int digit = (1 << digitBits) - 1;
        while (Above + (Ties = Sum(histograms, digit)) < count)
        {
            Above += Ties;
            digit--;
        }

        _prefix = _prefix << digitBits | (uint)digit;
        _shift -= digitBits;
    }

    private static long Sum(IReadOnlyCollection<long[]> histograms, int digit)
    {
        if (histograms is IReadOnlyList<long[]> { Count: 1 } list && list[0] is var only)
            return only[digit];
        long sum = 0;
        foreach (long[] histogram in histograms)
            sum += histogram[digit];
        return sum;
    }

    // maps numbers to integers of the same order: negative numbers are reversed and come first; both zeros are the same
    private static ulong Order(double key)
    {
        ulong bits = BitConverter.DoubleToUInt64Bits(key + 0.0);
        return bits >> 63 == 0 ? bits | 1UL << 63 : ~bits;
    }

    private static double Value(ulong order) => BitConverter.UInt64BitsToDouble(order >> 63 == 0 ? ~order : order & ~(1UL << 63));
}
