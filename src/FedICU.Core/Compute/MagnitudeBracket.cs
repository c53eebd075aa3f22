using FedICU.Memory;

namespace FedICU.Compute;

/// <summary>
/// A range of magnitudes that very likely holds the k-th largest of many. One pass counts the magnitudes above its
/// lower end and collects those inside; the k-th largest is then found among the few that were collected.
/// </summary>
/// <param name="Low">The lower end, which does not belong to the inside.</param>
/// <param name="High">The upper end, which does not either; equal to the lower end if the magnitude is that.</param>
/// <param name="CountsEnds">Whether magnitudes equal to an end are counted, as there may be many.</param>
internal readonly record struct MagnitudeBracket(double Low, double High, bool CountsEnds)
{
    // a sample's rank is normally distributed; the range extends this many standard deviations to both sides: chosen,
    // values that are read together may be alike, so that a sample tells less than independent draws
    private const double Deviations = 5;

    // the most values that are sorted; of more, a range is taken first (chosen)
    private const int Sorted = 2048;

    // the values of the sample from which that range is taken (chosen)
    private const int Sampled = 1024;

    // at least 1 / this of the values can be collected (chosen)
    private const int CollectedShare = 2;

    // the elements past the collected ones that may change: derived, a vector's
    private const int Padding = 8;

    /// <summary>Gets the range that holds every magnitude.</summary>
    public static MagnitudeBracket All { get; } = new(-1, double.PositiveInfinity, CountsEnds: false);

    /// <summary>Finds the range of the k-th largest magnitude.</summary>
    /// <param name="sample">A sample of the magnitudes, which is sorted.</param>
    /// <param name="share">k over the number of magnitudes.</param>
    public static MagnitudeBracket FromSample(Span<double> sample, double share)
    {
        sample.Sort();
        double margin = Deviations * Math.Sqrt(sample.Length * share * (1 - share)) + 1, place = sample.Length * (1 - share);
        int first = (int)Math.Floor(place - margin), last = (int)Math.Ceiling(place + margin);
        // an end that is several times in the sample may be the magnitude itself
        bool repeatsLow = first >= 0 && sample[first + 1] == sample[first];
        bool repeatsHigh = last < sample.Length && sample[last - 1] == sample[last];
        return new(
            first < 0 ? -1 : sample[first], last >= sample.Length ? double.PositiveInfinity : sample[last], repeatsLow || repeatsHigh);
    }

    /// <summary>Finds the k-th largest of magnitudes.</summary>
    /// <param name="backend">Counts and collects.</param>
    /// <param name="memory">Memory for some of the magnitudes.</param>
    /// <param name="values">The magnitudes; finite.</param>
    /// <param name="count">Their number.</param>
    /// <param name="rank">k, from 1.</param>
    public static unsafe MagnitudeRank Find(SimdBackend backend, NativePool memory, double* values, int count, long rank)
    {
        long above = 0;
        Span<double> sample = stackalloc double[Sampled];
        using NativeBuffer collected = memory.Rent((count / CollectedShare + Padding) * sizeof(double));
        while (count > Sorted)
        {
            for (int i = 0; i < Sampled; i++)
                sample[i] = values[(long)count * i / Sampled];
            MagnitudeBracket bracket = FromSample(sample, (double)rank / count) with { CountsEnds = true };
            // what is collected may replace the values, so that a miss must be known before
            BracketCounts counts = default;
            backend.CollectMagnitudes(new TensorPanel(values, DType.F64), null, count, bracket, ref counts, null);
            if (bracket.Locate(counts, rank) is not { } place || place.Value is null && counts.Inside > count / CollectedShare)
                return FindByDigits(new ReadOnlySpan<double>(values, count), rank, above);
            above += place.Above;
            if (place.Value is { } value)
                return new MagnitudeRank(value, above, place.Count);
            counts = default;
            backend.CollectMagnitudes(
                new TensorPanel(values, DType.F64), null, count, bracket, ref counts, (double*)collected.Pointer);
            values = (double*)collected.Pointer;
            count = (int)counts.Inside;
            rank -= place.Above;
        }

        double[] rest = new ReadOnlySpan<double>(values, count).ToArray();
        Array.Sort(rest);
        double found = rest[^(int)rank];
        int last = Array.LastIndexOf(rest, found);
        return new MagnitudeRank(found, above + count - last - 1, last - Array.IndexOf(rest, found) + 1);
    }

    /// <summary>Finds out where the k-th largest magnitude is; null if it is not in the range.</summary>
    /// <param name="counts">The counts of all magnitudes.</param>
    /// <param name="rank">k, from 1.</param>
    /// <returns>
    /// The end that is the magnitude, or null if it is inside, with the number of magnitudes there and above.
    /// </returns>
    public (double? Value, long Above, long Count)? Locate(in BracketCounts counts, long rank)
    {
        long above = counts.OverLow - counts.Inside - counts.AtHigh;
        if (rank <= above)
            return null;
        if (rank <= above + counts.AtHigh)
            return (High, above, counts.AtHigh);
        if (rank <= counts.OverLow)
            return (null, counts.OverLow - counts.Inside, counts.Inside);
        return rank <= counts.OverLow + counts.AtLow ? (Low, counts.OverLow, counts.AtLow) : null;
    }

    /// <summary>
    /// Returns whether a magnitude inside is at least a binary32 number away from the ends, which are such numbers.
    /// </summary>
    public bool IsWellInside(double magnitude) =>
        magnitude >= MathF.BitIncrement((float)Low) && magnitude <= MathF.BitDecrement((float)High);

    /// <summary>Finds a magnitude of which the sample told nothing.</summary>
    private static MagnitudeRank FindByDigits(ReadOnlySpan<double> values, long rank, long above)
    {
        var selection = new RadixSelection(rank);
        while (!selection.IsDone)
        {
            long[] histogram = new long[RadixSelection.Digits];
            selection.Add(values, histogram);
            selection.Narrow([histogram]);
        }

        return new MagnitudeRank(selection.Threshold, above + selection.Above, selection.Ties);
    }
}
