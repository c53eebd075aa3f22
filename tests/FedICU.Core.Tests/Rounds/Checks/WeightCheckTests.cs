using static FedICU.Tests.TwoTensorRound;

namespace FedICU.Tests;

/// <summary>Clients' weights: their source, their limits, and rounds in which only some clients state one.</summary>
internal sealed class WeightCheckTests
{
    [TestCase(-1, "-1"), TestCase(double.NaN, "NaN"), TestCase(double.PositiveInfinity, "Infinity")]
    public void AWeightThatIsNegativeOrNotFiniteIsRefused(double weight, string text) => Assert.That(
        () => Models.Run(new FedAvgAggregator(), Global, [ClientUpdate.FromTensors("x", ModelOf([0, 0], [0, 0, 0, 0]), weight)]),
        Throws.TypeOf<RoundRejectedException>().With.Message.EqualTo(
            $"Client 'x' has the weight {text}; a finite number of at least 0 was expected."));

    [Test]
    public void AClientOfWeightZeroHasNoEffect()
    {
        ClientUpdate nothing = ClientUpdate.FromTensors("nothing", ModelOf([float.NaN, 9], [9, 9, 9, 9]), 0);
        (RoundReport report, MemorySink with) = Models.Run(new FedIcuAggregator(), Global, [Good, nothing, AlsoGood]);
        (_, MemorySink without) = Models.Run(new FedIcuAggregator(), Global, [Good, AlsoGood]);
        Models.AssertSameBits(with, without);
        Assert.That(report.Clients.Single(client => !client.Included).Reason, Is.EqualTo("Client 'nothing' has the weight 0."));
    }

    [Test]
    public void WeightsComeFromTheMetadataOrAreOneWithANote()
    {
        static ClientUpdate Stating(string id, string? examples, float value) => ClientUpdate.FromTensors(
            id, new MemoryModel(examples is null
                ? null : new Dictionary<string, string> { ["num_examples"] = examples }) { { "a", [1], new[] { value } } });
        MemoryModel global = new() { { "a", [1], new float[] { 0 } } };
        (RoundReport stated, MemorySink sink) = Models.Run(new FedAvgAggregator(), global, [Stating("x", "3", 4), Stating("y", "1", 8)]);
        using (sink)
            Assert.That(sink.Model.ToArray<float>("a"), Is.EqualTo(new float[] { 5 }));
        Assert.That(stated.Notes, Is.Empty);
        (RoundReport silent, MemorySink other) = Models.Run(new FedAvgAggregator(), global, [Stating("x", null, 4), Stating("y", null, 8)]);
        using (other)
            Assert.That(other.Model.ToArray<float>("a"), Is.EqualTo(new float[] { 6 }));
        Assert.That(silent.Notes, Has.One.Contains("every client weighs 1"));
        Assert.That(() => Models.Run(new FedAvgAggregator(), global, [Stating("x", "3", 4), Stating("y", null, 8)]),
            Throws.TypeOf<RoundRejectedException>().With.Message.StartsWith("Client 'y' states no num_examples, but client 'x' does"));
        Assert.That(() => Models.Run(new FedAvgAggregator(), global, [Stating("x", "many", 4)]),
            Throws.TypeOf<RoundRejectedException>().With.Message.Contains("'num_examples' is 'many'"));
    }

    [Test]
    public void TheSmallerGroupOfClientsWithOrWithoutWeightsIsAtFault()
    {
        static ClientUpdate Silent(string id) => ClientUpdate.FromTensors(id, Models.Random(3));
        static ClientUpdate Weighted(string id) => ClientUpdate.FromTensors(id, Models.Random(4), 2);
        Assert.That(Left(Silent("a"), Silent("b"), Weighted("c")), Is.EqualTo("c"));
        Assert.That(Left(Silent("a"), Weighted("b"), Weighted("c")), Is.EqualTo("a"));
        Assert.That(Left(Silent("a"), Weighted("b")), Is.EqualTo("a"));

        static string Left(params ClientUpdate[] clients)
        {
            RoundReport report = Models.RunForReport(new FedAvgAggregator(), BadClient.Global, clients,
                new RoundOptions { OnWeight = FaultPolicy.DropClient, Quorum = 1 });
            return string.Join(',', report.Clients.Where(client => !client.Included).Select(client => client.Id));
        }
    }

    [Test]
    public void TheLargestWeightIsAnOption()
    {
        ClientUpdate heavy = ClientUpdate.FromTensors("heavy", Models.Random(3), 101);
        Assert.That(() => Models.Run(new FedAvgAggregator(), BadClient.Global, [heavy], new RoundOptions { MaxWeight = 100 }),
            Throws.TypeOf<RoundRejectedException>().With.Message.EqualTo(
                "Client 'heavy' has the weight 101; at most 100 (max-weight) was expected."));
        ClientUpdate[] largest = [.. Enumerable.Range(0, 2).Select(k => ClientUpdate.FromTensors($"{k}", Models.Random(k), 1.7e308))];
        Assert.That(() => Models.Run(new FedAvgAggregator(), BadClient.Global, largest, new RoundOptions { MaxWeight = double.MaxValue }),
            Throws.TypeOf<RoundRejectedException>().With.Message.StartsWith("Client '1' has the weight 1.7E+308, which makes the sum"));
    }
}
