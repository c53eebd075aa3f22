namespace FedICU.Tests;

/// <summary>Progress is monotonic in each phase, is reported within large tensors too, and ends at the total.</summary>
internal sealed class ProgressTests
{
    private static readonly MemoryModel Global =
        new() { { "a", [2], new float[] { 1, 2 } }, { "b", [2, 2], new float[] { 1, 2, 3, 4 } }, { "s", [], new float[] { 1 } } };

    [Test]
    public void ThePreparationKnowsItsPasses()
    {
        var progress = new Collected();
        Models.Run(new FedIcuAggregator(new FedIcuOptions { Granularity = Granularity.Model }), Global,
            [ClientUpdate.FromTensors("x", Global, 1)], new RoundOptions { Progress = progress })
            .Sink.Dispose();
        // the preparation skips the scalar and has two passes over the other tensors
        Assert.That(progress.Seen.Select(step => (step.Phase, step.BytesDone, step.BytesTotal)), Is.EqualTo(new[]
        {
            ("prepare", 8L, 48L), ("prepare", 24, 48), ("prepare", 32, 48), ("prepare", 48, 48), ("aggregate", 8, 28),
                ("aggregate", 24, 28), ("aggregate", 28, 28),
        }));
    }

    [Test]
    public void TheDigestReportsProgress()
    {
        var progress = new Collected();
        Models.Run(new FedAvgAggregator(), Global, [ClientUpdate.FromTensors("x", Global, 1, baseDigest: ModelDigest.Compute(Global))],
            new RoundOptions { Progress = progress }).Sink.Dispose();
        Assert.That(progress.Seen.Where(step => step.Phase == "check").Select(step => step.BytesTotal), Is.EqualTo(new[] { 28L, 28, 28 }));
        Assert.That(progress.Seen.Last(step => step.Phase == "check").BytesDone, Is.EqualTo(28));
    }

    [TestCase("fedavg"), TestCase("fedicu"), TestCase("fedicu of the model"), TestCase("integers")]
    public void ALargeTensorIsReportedInSteps(string what)
    {
        const int Elements = 12 << 20;
        var progress = new Collected();
        var model = new MemoryModel();
        if (what == "integers")
            model.Add("w", [Elements / 1024, 1024], new int[Elements]);
        else
            model.Add("w", [Elements / 1024, 1024], Enumerable.Repeat(1f, Elements).ToArray());
        IAggregator aggregator = what.StartsWith("fedicu", StringComparison.Ordinal)
            ? new FedIcuAggregator(new FedIcuOptions { Granularity = what == "fedicu" ? Granularity.Tensor : Granularity.Model })
            : new FedAvgAggregator();
        var round = new AggregationRound(model,
            new RoundOptions { Progress = progress }) { ClientUpdate.FromTensors("x", model, 1, baseDigest: ModelDigest.Compute(model)) };
        aggregator.AggregateAsync(round, TensorSink.Discard).GetAwaiter().GetResult();
        foreach (IGrouping<string, RoundProgress> phase in progress.Seen.GroupBy(step => step.Phase))
        {
            long total = phase.First().BytesTotal;
            Assert.That(phase.Select(step => step.BytesDone), Is.Ordered.Ascending.And.Unique, phase.Key);
            Assert.That(phase.Last().BytesDone, Is.EqualTo(total), phase.Key);
            Assert.That(phase.Count(), Is.InRange(5, 101), phase.Key);
        }

        Assert.That(progress.Seen.Select(step => step.Phase).Distinct(),
            Is.EqualTo(what == "fedicu of the model" ? ["check", "prepare", "aggregate"] : new[] { "check", "aggregate" }));
    }
}

/// <summary>Collects the reports.</summary>
internal sealed class Collected : IProgress<RoundProgress>
{
    public List<RoundProgress> Seen { get; } = [];

    public void Report(RoundProgress value) => Seen.Add(value);
}
