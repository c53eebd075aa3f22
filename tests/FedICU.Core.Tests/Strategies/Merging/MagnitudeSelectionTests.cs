namespace FedICU.Tests;

/// <summary>
/// Compares what TIES and Breadcrumbs keep of one client's update with a sort of all entries: for data without and with
/// ties, and for data whose sample misleads.
/// </summary>
internal sealed class MagnitudeSelectionTests
{
    // more than what is collected as a whole, and no multiple of a vector
    private const int Length = (1 << 17) + 5;

    public enum Data { Random, FewValues, MostlyZero, Equal, Ascending, OneHalfZero, Spikes }

    [Test]
    public void TiesKeepsTheLargest([Values] Data data, [Values(.001, .2, .5, .999, 1)] double density, [Values(1, 2)] int threads)
    {
        float[] update = Create(data);
        int kept = Math.Max(1, (int)Math.Floor(density * Length + 1e-9));
        float[] expected = new float[Length];
        foreach (int i in Enumerable.Range(0, Length).OrderByDescending(i => Math.Abs(update[i])).ThenBy(i => i).Take(kept))
            expected[i] = update[i];
        Assert.That(Merge("ties", update, threads, $"density={density}"), Is.EqualTo(expected));
    }

    [Test]
    public void BreadcrumbsDropsBothEnds([Values] Data data, [Values(.5, .9)] double density, [Values(0, .01, .3)] double gamma)
    {
        float[] update = Create(data);
        int top = (int)Math.Floor(gamma * Length + 1e-9), bottom = Length - (int)Math.Floor(density * Length + 1e-9) - top;
        (top, bottom) = (top + Math.Min(bottom, 0), Math.Max(bottom, 0));
        float[] expected = [.. update];
        int[] order = [.. Enumerable.Range(0, Length).OrderBy(i => Math.Abs(update[i])).ThenBy(i => i)];
        foreach (int i in order.Take(bottom).Concat(order.TakeLast(top)))
            expected[i] = 0;
        Assert.That(Merge("breadcrumbs", update, 2, $"density={density}", $"gamma={gamma}"), Is.EqualTo(expected));
    }

    [Test]
    public void TheModelsLargestStayInAllTensors([Values(Data.Random, Data.FewValues, Data.MostlyZero)] Data data)
    {
        float[] update = Create(data);
        // ordinal order of the names, which is not that of the file
        var (client, global) = (new MemoryModel(), new MemoryModel());
        foreach ((string name, int start, int end) in (ReadOnlySpan<(string, int, int)>)[("b", 70_000, Length), ("a", 0, 70_000)])
        {
            client.Add(name, [end - start], update[start..end]);
            global.Add(name, [end - start], new float[end - start]);
        }

        float[] expected = new float[Length];
        int kept = (int)Math.Floor(.2 * Length + 1e-9);
        foreach (int i in Enumerable.Range(0, Length).OrderByDescending(i => Math.Abs(update[i])).ThenBy(i => i).Take(kept))
            expected[i] = update[i];
        using MemorySink sink = Run(
            new TiesAggregator(new TiesOptions { TrimScope = TrimScope.Model }), global, client, new RoundOptions { Threads = 2 });
        Assert.That(
            sink.Model.ToArray<float>("a").Concat(sink.Model.ToArray<float>("b")).ToArray(), Is.EqualTo(expected));
    }

    [Test]
    public void DifferencesThatBinary32DoesNotTellApartAreToldApart()
    {
        // 1 and 1 - 2^-40 are the same in binary32
        var random = new Random(3);
        float[] values = [.. Enumerable.Range(0, Length).Select(i => random.Next(3) == 0 ? .25f : 1)];
        float[] global = [.. Enumerable.Range(0, Length).Select(i => random.Next(2) == 0 ? 0 : 1 / (float)(1L << 40))];
        var client = new MemoryModel { { "w", [Length], values } };
        double[] update = [.. values.Zip(global, (y, x) => (double)y - x)];
        float[] expected = [.. global];
        foreach (int i in Enumerable.Range(0, Length).OrderByDescending(i => update[i]).ThenBy(i => i).Take(Length / 2))
            expected[i] = values[i];
        using MemorySink sink = Run(
            new TiesAggregator(new TiesOptions { Density = .5 }), new MemoryModel { { "w", [Length], global } }, client,
            new RoundOptions());
        Assert.That(sink.Model.ToArray<float>("w"), Is.EqualTo(expected));
    }

    private static float[] Create(Data data)
    {
        var random = new Random(5);
        return [.. Enumerable.Range(0, Length).Select(i => data switch
        {
            Data.Random => random.NextSingle() - .5f,
            Data.FewValues => random.Next(-3, 4),
            Data.MostlyZero => random.Next(5) == 0 ? random.NextSingle() - .5f : 0,
            Data.Equal => i % 2 == 0 ? 1 : -1,
            Data.Ascending => i,
            Data.OneHalfZero => i < Length / 2 ? 0 : random.Next(1, 3),
            // a sample is likely to see none of these
            _ => i % 1000 == 7 ? 100 + i : random.Next(1, 3),
        })];
    }

    private static float[] Merge(string rule, float[] update, int threads, params string[] options)
    {
        var settings = options.Select(option => option.Split('=')).Select(pair => KeyValuePair.Create(pair[0], pair[1]));
        var client = new MemoryModel { { "w", [update.Length], update } };
        var global = new MemoryModel { { "w", [update.Length], new float[update.Length] } };
        using MemorySink sink = Run(
            StrategyRegistry.Default.Create(rule, settings).Aggregator, global, client, new RoundOptions { Threads = threads });
        return sink.Model.ToArray<float>("w");
    }

    private static MemorySink Run(IAggregator aggregator, MemoryModel global, MemoryModel client, RoundOptions options)
    {
        var round = new AggregationRound(global, options) { ClientUpdate.FromTensors("a", client) };
        var sink = new MemorySink();
        aggregator.AggregateAsync(round, sink).GetAwaiter().GetResult();
        return sink;
    }
}
