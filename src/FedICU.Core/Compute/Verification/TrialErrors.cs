namespace FedICU.Compute.Verification;

/// <summary>Compares results with the reference's and keeps the largest error, relative to what is allowed.</summary>
internal sealed class TrialErrors
{
    /// <summary>The distance from 1 to the next float64, 2^-52.</summary>
    public const double Epsilon = 1.0 / (1L << 52);

    /// <summary>
    /// Gets the largest error over its bound: 0 if all were equal, infinity if an exact rule was broken.
    /// </summary>
    public double Worst { get; private set; }

    /// <summary>Records the difference of two numbers over its bound.</summary>
    public void Bounded(double actual, double expected, double bound)
    {
        if (actual == expected || double.IsNaN(actual) && double.IsNaN(expected))
            return;
        double error = Math.Abs(actual - expected) / bound;
        // NaN: one side is NaN or infinite, or no error was allowed
        Worst = Math.Max(Worst, double.IsNaN(error) ? double.PositiveInfinity : error);
    }

    /// <summary>Records an infinite error unless two numbers are equal.</summary>
    public void Exact(long actual, long expected) => Exact(actual == expected);

    /// <summary>Records an infinite error unless a rule holds.</summary>
    public void Exact(bool holds) => Worst = holds ? Worst : double.PositiveInfinity;

    /// <summary>Compares sums of positive terms: they may differ by n * 2^-52 of the sum.</summary>
    public void CompareSums(GuardedPanel actual, GuardedPanel expected, int elements)
    {
        for (int i = 0; i < actual.Length; i++)
            Bounded(actual[i], expected[i], (elements + 16) * Epsilon * Math.Abs(expected[i]));
    }

    /// <summary>
    /// Compares output elements: they may differ by one unit in the last place, F64 by 64 * 2^-53 of the largest
    /// magnitude.
    /// </summary>
    public void CompareElements(GuardedPanel actual, GuardedPanel expected)
    {
        double largest = 0;
        for (int i = 0; i < expected.Length; i++)
            largest = Math.Max(largest, double.IsFinite(expected[i]) ? Math.Abs(expected[i]) : 0);
        for (int i = 0; i < expected.Length; i++)
        {
            double bound = actual.Panel.DType == DType.F64 ? 32 * Epsilon * largest : GetLastPlace(actual.Panel.DType, expected[i]);
            Bounded(actual[i], expected[i], bound);
        }
    }

    /// <summary>Compares moments of magnitudes.</summary>
    public void CompareMoments(in MagnitudeMoments actual, in MagnitudeMoments expected)
    {
        Exact(actual.Count, expected.Count);
        double bound = (expected.Count + 16) * Epsilon * expected.Maximum;
        Bounded(actual.Mean, expected.Mean, bound);
        Bounded(actual.SquaredDeviations, expected.SquaredDeviations, bound * expected.Maximum * expected.Count);
        Bounded(actual.Minimum, expected.Minimum, 4 * Epsilon * expected.Maximum);
        Bounded(actual.Maximum, expected.Maximum, 4 * Epsilon * expected.Maximum);
    }

    /// <summary>Returns one unit in the last place of a value.</summary>
    private static double GetLastPlace(DType dtype, double value)
    {
        (int mantissa, int least) = dtype switch { DType.F32 => (23, -126), DType.F16 => (10, -14), _ => (7, -126) };
        int exponent = value == 0 || !double.IsFinite(value) ? least : Math.Max(Math.ILogB(value), least);
        return Math.ScaleB(1, exponent - mantissa);
    }
}
