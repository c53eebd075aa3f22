namespace FedICU.Compute;

/// <summary>The count, mean, squared deviations, minimum and maximum of a tensor's magnitudes.</summary>
public struct MagnitudeMoments
{
    /// <summary>
    /// The elements of a block, whose moments are computed in two passes and then merged. Part of the fixed reduction
    /// shape.
    /// </summary>
    public const int Block = 2048;

    /// <summary>Gets the number of magnitudes.</summary>
    public long Count { readonly get; private set; }

    /// <summary>Gets their mean.</summary>
    public double Mean { readonly get; private set; }

    /// <summary>Gets the sum of their squared deviations from the mean.</summary>
    public double SquaredDeviations { readonly get; private set; }

    /// <summary>Gets the smallest.</summary>
    public double Minimum { readonly get; private set; }

    /// <summary>Gets the largest.</summary>
    public double Maximum { readonly get; private set; }

    /// <summary>
    /// Gets the sample standard deviation; 0 for fewer than two elements, or if all are equal (docs/algorithms.md,
    /// Ties).
    /// </summary>
    public readonly double StandardDeviation => Count < 2 || Minimum == Maximum ? 0 : Math.Sqrt(SquaredDeviations / (Count - 1));

    /// <summary>
    /// Merges a block's moments (Chan, Golub, LeVeque 1979). The code is scalar on every backend, so that the order of
    /// merging determines every bit.
    /// </summary>
    /// <param name="count">The elements of the block, at least 1.</param>
    /// <param name="mean">Their mean.</param>
    /// <param name="squaredDeviations">The sum of squared deviations from that mean.</param>
    /// <param name="minimum">The smallest.</param>
    /// <param name="maximum">The largest.</param>
    public void Merge(long count, double mean, double squaredDeviations, double minimum, double maximum)
    {
        if (Count == 0)
        {
            (Count, Mean, SquaredDeviations, Minimum, Maximum) = (count, mean, squaredDeviations, minimum, maximum);
            return;
        }

        long total = Count + count;
        double difference = mean - Mean;
        Mean += difference * ((double)count / total);
        SquaredDeviations += squaredDeviations + difference * difference * ((double)Count * count / total);
        Minimum = Math.Min(Minimum, minimum);
        Maximum = Math.Max(Maximum, maximum);
        Count = total;
    }

    /// <summary>Merges the moments of a later part of the same tensor.</summary>
    public void Merge(in MagnitudeMoments later)
    {
        if (later.Count > 0)
            Merge(later.Count, later.Mean, later.SquaredDeviations, later.Minimum, later.Maximum);
    }
}
