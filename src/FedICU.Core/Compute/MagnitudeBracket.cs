namespace FedICU.Compute;

/// <summary>
/// A range of magnitudes that very likely holds the k-th largest of many. One pass counts the magnitudes above its lower
/// end and collects those inside; the k-th largest is then found among the few that were collected.
/// </summary>
/// <param name="Low">The lower end, which does not belong to the inside.</param>
/// <param name="High">The upper end, which does not either; equal to the lower end if the magnitude is that.</param>
/// <param name="CountsLow">Whether magnitudes equal to the lower end are counted, as there may be many.</param>
internal readonly record struct MagnitudeBracket(double Low, double High, bool CountsLow)
{
    // a sample's rank is normally distributed; the range extends this many standard deviations to both sides: chosen,
    // values that are read together may be alike, so that a sample tells less than independent draws
    private const double Deviations = 5;

    // the most values that are sorted; of more, a range is taken first (chosen)
    private const int Sorted = 2048;

    // the values of the sample from which that range is taken (chosen)
    private const int Sampled = 1024;

    /// <summary>Gets the range that holds every magnitude.</summary>
    public static MagnitudeBracket All { get; } = new(-1, double.PositiveInfinity, CountsLow: false);

    /// <summary>Finds the range of the k-th largest magnitude.</summary>
    /// <param name="sample">A sample of the magnitudes, which is sorted.</param>
    /// <param name="share">k over the number of magnitudes.</param>
    public static MagnitudeBracket FromSample(Span<double> sample, double share)
    {
        sample.Sort();
        double margin = Deviations * Math.Sqrt(sample.Length * share * (1 - share)) + 1, place = sample.Length * (1 - share);
        int first = (int)Math.Floor(place - margin), last = (int)Math.Ceiling(place + margin);
        double low = first < 0 ? -1 : sample[first];
        if (last >= sample.Length)
            return new(low, double.PositiveInfinity, CountsLow: first >= 0 && sample[first] == sample[^1]);
        double high = sample[last];
        // a magnitude that fills the range is counted instead of collected
        return low == high ? new(low, low, CountsLow: true) : new(low, Math.BitIncrement(high), first >= 0 && sample[first + 1] == low);
    }

    /// <summary>Finds the k-th largest of magnitudes, which are moved.</summary>
    /// <param name="backend">Counts and collects.</param>
    /// <param name="values">The magnitudes; finite, with room for eight more after them.</param>
    /// <param name="count">Their number.</param>
    /// <param name="rank">k, from 1.</param>
    public static unsafe MagnitudeRank Find(SimdBackend backend, double* values, int count, long rank)
    {
        long above = 0;
        Span<double> sample = stackalloc double[Sampled];
        while (count > Sorted)
        {
            for (int i = 0; i < Sampled; i++)
                sample[i] = values[(long)count * i / Sampled];
            MagnitudeBracket bracket = FromSample(sample, (double)rank / count) with { CountsLow = true };
            // what is collected replaces the values, so that a miss must be known before
            BracketCounts counts = default;
            backend.CollectMagnitudes(new TensorPanel(values, DType.F64), null, count, bracket, ref counts, null);
            if (bracket.Locate(counts, rank) is not { } place)
                break;
            above += place.Above;
            if (place.Value is { } value)
                return new MagnitudeRank(value, above, place.Count);
            counts = default;
            backend.CollectMagnitudes(new TensorPanel(values, DType.F64), null, count, bracket, ref counts, values);
            count = (int)counts.Inside;
            rank -= place.Above;
        }

        var rest = new Span<double>(values, count);
        rest.Sort();
        double found = rest[^(int)rank];
        int last = rest.LastIndexOf(found);
        return new MagnitudeRank(found, above + count - last - 1, last - rest.IndexOf(found) + 1);
    }

    /// <summary>Finds out where the k-th largest magnitude is; null if it is not in the range.</summary>
    /// <param name="counts">The counts of all magnitudes.</param>
    /// <param name="rank">k, from 1.</param>
    /// <returns>
    /// The lower end if it is the magnitude, or null if it is inside, with the number of magnitudes there and above.
    /// </returns>
    public (double? Value, long Above, long Count)? Locate(in BracketCounts counts, long rank)
    {
        if (rank <= counts.OverLow - counts.Inside)
            return null;
        if (rank <= counts.OverLow)
            return (null, counts.OverLow - counts.Inside, counts.Inside);
        return rank <= counts.OverLow + counts.AtLow ? (Low, counts.OverLow, counts.AtLow) : null;
    }
}
