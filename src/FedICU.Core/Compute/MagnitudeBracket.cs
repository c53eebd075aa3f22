using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace FedICU.Compute;

/// <summary>
/// A range of magnitudes that very likely holds the k-th largest of many. One pass counts the magnitudes above the
/// range and collects those inside; the k-th largest is then found among the few that were collected.
/// </summary>
/// <param name="Low">The lower end: equal magnitudes are counted, not collected.</param>
/// <param name="High">The upper end, likewise.</param>
internal readonly record struct MagnitudeBracket(double Low, double High)
{
    // a sample's rank is normally distributed; the range extends this many standard deviations to both sides: chosen,
    // values that are read together may be alike, so that a sample tells less than independent draws
    private const double Deviations = 6;

    // the most values that are sorted; of more, a range is taken first (chosen)
    private const int Sorted = 2048;

    // the values of the sample from which that range is taken (chosen)
    private const int Sampled = 1024;

    /// <summary>Gets the range that holds every magnitude.</summary>
    public static MagnitudeBracket All { get; } = new(-1, double.PositiveInfinity);

    /// <summary>Finds the range of the k-th largest magnitude.</summary>
    /// <param name="sample">A sample of the magnitudes, which is sorted.</param>
    /// <param name="share">k over the number of magnitudes.</param>
    public static MagnitudeBracket FromSample(Span<double> sample, double share)
    {
        sample.Sort();
        double margin = Deviations * Math.Sqrt(sample.Length * share * (1 - share)) + 1, place = sample.Length * (1 - share);
        int low = (int)Math.Floor(place - margin), high = (int)Math.Ceiling(place + margin);
        return new(low < 0 ? -1 : sample[low], high >= sample.Length ? double.PositiveInfinity : sample[high]);
    }

    /// <summary>Finds the k-th largest of magnitudes, which are moved.</summary>
    /// <param name="values">The magnitudes; finite.</param>
    /// <param name="rank">k, from 1.</param>
    public static unsafe MagnitudeRank Find(Span<double> values, long rank)
    {
        long above = 0;
        Span<double> sample = stackalloc double[Sampled];
        while (values.Length > Sorted)
        {
            for (int i = 0; i < sample.Length; i++)
                sample[i] = values[(int)((long)values.Length * i / sample.Length)];
            MagnitudeBracket bracket = FromSample(sample, (double)rank / values.Length);
            // the search moves values, so that a miss must be known before
            BracketCounts counts = default;
            int whole = values.Length & -Vector512<double>.Count;
            fixed (double* first = values)
            {
                bracket.Count(values[..whole], ref counts, null);
                bracket.CountOneByOne(values[whole..], ref counts, null);
                if (bracket.Locate(counts, rank) is not { } place)
                    break;
                above += place.Above;
                if (place.Value is { } value)
                    return new MagnitudeRank(value, above, place.Count);
                BracketCounts collected = default;
                bracket.Count(values[..whole], ref collected, first);
                bracket.CountOneByOne(values[whole..], ref collected, first);
                values = values[..(int)collected.Inside];
                rank -= place.Above;
            }
        }

        values.Sort();
        double found = values[^(int)rank];
        int larger = values.Length - values.LastIndexOf(found) - 1, ties = values.LastIndexOf(found) - values.IndexOf(found) + 1;
        return new MagnitudeRank(found, above + larger, ties);
    }

    /// <summary>Finds out where the k-th largest magnitude is; null if it is not in the range.</summary>
    /// <param name="counts">The counts of all magnitudes.</param>
    /// <param name="rank">k, from 1.</param>
    /// <returns>
    /// The end that is the magnitude, or null if it is inside, with the number of magnitudes there and above.
    /// </returns>
    public (double? Value, long Above, long Count)? Locate(in BracketCounts counts, long rank)
    {
        if (rank <= counts.Above)
            return null;
        if (rank <= counts.Above + counts.AtHigh)
            return (High, counts.Above, counts.AtHigh);
        long above = counts.Above + counts.AtHigh;
        if (rank <= above + counts.Inside)
            return (null, above, counts.Inside);
        above += counts.Inside;
        return rank <= above + counts.AtLow ? (Low, above, counts.AtLow) : null;
    }

    /// <summary>Counts values by their magnitudes and collects the magnitudes inside the range.</summary>
    /// <param name="values">The values, a multiple of eight.</param>
    /// <param name="counts">The counts, added to.</param>
    /// <param name="inside">
    /// Receives the magnitudes from the number on that the counts have; null: they are only counted. It may be where
    /// the values are.
    /// </param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public unsafe void Count(ReadOnlySpan<double> values, ref BracketCounts counts, double* inside)
    {
        Vector512<double> high = Vector512.Create(High), low = Vector512.Create(Low);
        ref double first = ref MemoryMarshal.GetReference(values);
        long above = 0, atLeastHigh = 0, aboveLow = 0, atLeastLow = 0, collected = counts.Inside;
        for (nuint i = 0; i < (nuint)values.Length; i += (nuint)Vector512<double>.Count)
        {
            Vector512<double> value = Vector512.Abs(Vector512.LoadUnsafe(ref first, i));
            ulong fromHigh = Vector512.GreaterThanOrEqual(value, high).ExtractMostSignificantBits();
            ulong overLow = Vector512.GreaterThan(value, low).ExtractMostSignificantBits();
            above += BitOperations.PopCount(Vector512.GreaterThan(value, high).ExtractMostSignificantBits());
            atLeastLow += BitOperations.PopCount(Vector512.GreaterThanOrEqual(value, low).ExtractMostSignificantBits());
            atLeastHigh += BitOperations.PopCount(fromHigh);
            aboveLow += BitOperations.PopCount(overLow);
            if (inside is null)
                continue;
            for (ulong bits = overLow & ~fromHigh; bits != 0; bits &= bits - 1)
                inside[collected++] = Math.Abs(Unsafe.Add(ref first, i + (nuint)BitOperations.TrailingZeroCount(bits)));
        }

        counts.Above += above;
        counts.AtHigh += atLeastHigh - above;
        // a range without room has its one value at both ends
        counts.Inside += Math.Max(0, aboveLow - atLeastHigh);
        counts.AtLow += atLeastLow - Math.Max(aboveLow, atLeastHigh);
    }

    /// <summary>Does the same for the last values, fewer than eight.</summary>
    private unsafe void CountOneByOne(ReadOnlySpan<double> values, ref BracketCounts counts, double* inside)
    {
        Span<double> padded = stackalloc double[Vector512<double>.Count];
        // NaN is in no comparison
        padded.Fill(double.NaN);
        values.CopyTo(padded);
        Count(padded, ref counts, inside);
    }
}
