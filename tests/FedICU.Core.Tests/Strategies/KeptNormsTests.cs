namespace FedICU.Tests;

/// <summary>The norms of <see cref="Granularity.Model"/> are measured once.</summary>
internal sealed class KeptNormsTests
{
    // more than the Gram pass serves
    private const int Clients = 14;

    // with all clients more than a round reads once and keeps
    private const int Rows = 2400, Columns = 2000;

    private static readonly MemoryModel[] Distinct = [CreateModel(0), CreateModel(1), CreateModel(2)];

    [Test]
    public void OneSetOfWeightsForTheModelTakesNoMoreLooksThanOneForEachTensor()
    {
        double ofTensor = CountReads(Granularity.Tensor), ofModel = CountReads(Granularity.Model);
        Assert.That(ofTensor, Is.GreaterThan(1), "the tensor does not stay in memory between the looks");
        Assert.That(ofModel, Is.EqualTo(ofTensor));
    }

    [Test]
    public void TheBitsAreThoseOfNormsMeasuredAgain()
    {
        // the second model's norms are not kept for the first: each round has its own
        byte[] once = Run(Granularity.Model, out _);
        Assert.That(Run(Granularity.Model, out _), Is.EqualTo(once));
    }

    private static double CountReads(Granularity granularity)
    {
        Run(granularity, out double reads);
        return reads;
    }

    private static byte[] Run(Granularity granularity, out double reads)
    {
        CountedSource[] clients = [.. Enumerable.Range(1, Clients).Select(k => new CountedSource(Distinct[k % Distinct.Length]))];
        var round = new AggregationRound(Distinct[0]);
        for (int k = 0; k < Clients; k++)
            round.Add(ClientUpdate.FromTensors($"client-{k:00}", clients[k], 1));
        using var output = new MemorySink();
        new FedIcuAggregator(new FedIcuOptions { Granularity = granularity }).AggregateAsync(round, output).GetAwaiter().GetResult();
        reads = clients.Average(client => client.ReadOf("w"));
        return Models.AllBytes(output.Model);
    }

    private static MemoryModel CreateModel(int seed)
    {
        var random = new Random(seed);
        float[] values = [.. Enumerable.Range(0, Rows * Columns).Select(_ => random.NextSingle() - 0.5f)];
        return Models.Of("w", [Rows, Columns], values);
    }
}
