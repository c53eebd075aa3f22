using System.Runtime.CompilerServices;
using FedICU.Compute;
using FedICU.Panels;

namespace FedICU.Strategies.Merging;

/// <summary>
/// Finds the largest magnitudes of each client's whole update, exactly. Histograms of the magnitudes' digits are sums
/// over the tensors, and so are histograms of the places of equal magnitudes. They can be measured in parts.
/// </summary>
internal sealed class ModelTrim
{
    // Bits of a digit: chosen. A histogram of each client is small beside a tensor of an adapter, and five passes find
    // a magnitude, three more a place among less than 2^39 elements.
    private const int DigitBits = 13;
    private const int MagnitudeDigits = 5;
    private const int PlaceDigits = 3;

    private readonly double _density;
    private readonly Histogram[] _magnitudes, _places;
    // the place of each tensor in the vector of the whole model
    private static readonly ConditionalWeakTable<RoundPlan, Dictionary<string, long>> Starts = [];

    public ModelTrim(double density)
    {
        _density = density;
        _magnitudes = new Histogram[MagnitudeDigits];
        _places = new Histogram[PlaceDigits];
        Histogram? before = null;
        for (int i = 0; i < MagnitudeDigits; i++)
            before = _magnitudes[i] = new Histogram($"ties.magnitudes {i + 1}", before, AddMagnitudes);
        for (int i = 0; i < PlaceDigits; i++)
            before = _places[i] = new Histogram($"ties.places {i + 1}", before, AddPlaces);
    }

    /// <summary>Gets the statistics that must be measured.</summary>
    public IReadOnlyList<RoundStatistic> Statistics => [_places[^1]];

    /// <summary>Returns the magnitudes of a tensor that belong to each client's largest.</summary>
    public MagnitudeCut[] GetCuts(TensorContext tensor)
    {
        long start = GetStart(tensor);
        return
        [
            .. Enumerable.Range(0, tensor.Clients.Count).Select(client =>
            {
                RadixSelection found = FindMagnitude(tensor.Plan, client, MagnitudeDigits);
                return FindPlace(tensor.Plan, client, found, PlaceDigits) is { } place
                    ? new MagnitudeCut(found.Threshold, 0, place.Prefix - start)
                    : MagnitudeCut.From(found.Threshold);
            }),
        ];
    }

    private void AddMagnitudes(TensorContext tensor, int digit, long[][] histograms)
    {
        RadixSelection[] selections =
            [.. Enumerable.Range(0, histograms.Length).Select(client => FindMagnitude(tensor.Plan, client, digit))];
        tensor.VisitUpdates((client, _, update) =>
        {
            double[] magnitudes = new double[update.Length];
            System.Numerics.Tensors.TensorPrimitives.Abs(update, magnitudes);
            selections[client].Add(magnitudes, histograms[client]);
        });
    }

    private void AddPlaces(TensorContext tensor, int digit, long[][] histograms)
    {
        digit -= MagnitudeDigits;
        long vectorStart = GetStart(tensor);
        var found = new (double Value, long Prefix)?[histograms.Length];
        for (int client = 0; client < found.Length; client++)
        {
            RadixSelection selection = FindMagnitude(tensor.Plan, client, MagnitudeDigits);
            if (FindPlace(tensor.Plan, client, selection, digit) is { } place)
                found[client] = (selection.Threshold, place.Prefix);
        }

        // all equal magnitudes of all clients stay, which is usual
        if (Array.TrueForAll(found, one => one is null))
            return;
        int shift = (PlaceDigits - 1 - digit) * DigitBits;
        tensor.VisitUpdates((client, start, update) =>
        {
            if (found[client] is not var (value, prefix))
                return;
            for (int i = 0; i < update.Length; i++)
            {
                long place = vectorStart + start + i;
                if (Math.Abs(update[i]) == value && place >> (shift + DigitBits) == prefix)
                    histograms[client][place >> shift & (1 << DigitBits) - 1]++;
            }
        });
    }

    /// <summary>Finds a client's smallest magnitude that stays, as far as digits were counted.</summary>
    private RadixSelection FindMagnitude(RoundPlan plan, int client, int digits)
    {
        long elements = plan.Tensors.Sum(tensor => tensor.ElementCount);
        var selection = new RadixSelection(MergeWeights.CountKept(_density, elements), DigitBits);
        foreach (Histogram histogram in _magnitudes.Take(digits))
            selection.Narrow([histogram.Read(plan, client)]);
        return selection;
    }

    /// <summary>
    /// Finds the place of a client's last equal magnitude that stays, as far as digits were counted; null if all stay.
    /// </summary>
    private (long Prefix, long Left)? FindPlace(RoundPlan plan, int client, RadixSelection magnitude, int digits)
    {
        long elements = plan.Tensors.Sum(tensor => tensor.ElementCount);
        long rest = MergeWeights.CountKept(_density, elements) - magnitude.Above, prefix = 0;
        if (rest >= magnitude.Ties)
            return null;
        foreach (Histogram histogram in _places.Take(digits))
        {
            long[] counts = histogram.Read(plan, client);
            int digit = 0;
            for (; counts[digit] < rest; digit++)
                rest -= counts[digit];
            prefix = prefix << DigitBits | (uint)digit;
        }

        return (prefix, rest);
    }

    private static long GetStart(TensorContext tensor) => Starts.GetValue(tensor.Plan, static plan =>
    {
        long start = 0;
        var starts = new Dictionary<string, long>(StringComparer.Ordinal);
        foreach (TensorInfo each in plan.Tensors.OrderBy(each => each.Name, StringComparer.Ordinal))
        {
            starts.Add(each.Name, start);
            start += each.ElementCount;
        }

        return starts;
    })[tensor.Info.Name];

    /// <summary>Counts the values of one digit, for each client.</summary>
    private sealed class Histogram(string name, Histogram? before, Action<TensorContext, int, long[][]> add) : RoundStatistic
    {
        private readonly int _digit = before is null ? 0 : before._digit + 1;

        public override string Name => name;

        public override IReadOnlyList<RoundStatistic> After => before is null ? [] : [before];

        public override int Count(int clients) => checked(clients << DigitBits);

        public override void Measure(TensorContext tensor, Span<double> sums)
        {
            long[][] histograms = [.. tensor.Clients.Select(_ => new long[1 << DigitBits])];
            add(tensor, _digit, histograms);
            for (int client = 0; client < histograms.Length; client++)
            {
                for (int i = 0; i < 1 << DigitBits; i++)
                    sums[(client << DigitBits) + i] = histograms[client][i];
            }
        }

        public long[] Read(RoundPlan plan, int client)
        {
            ReadOnlySpan<double> counts = plan[this].Slice(client << DigitBits, 1 << DigitBits);
            long[] histogram = new long[counts.Length];
            for (int i = 0; i < histogram.Length; i++)
                histogram[i] = (long)counts[i];
            return histogram;
        }
    }
}
