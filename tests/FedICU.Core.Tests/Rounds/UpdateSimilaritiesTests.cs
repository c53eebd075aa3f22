namespace FedICU.Tests;

/// <summary>The report's cosines between the updates of each two clients.</summary>
internal sealed class UpdateSimilaritiesTests
{
    private const int ClientCount = 7;
    private static readonly MemoryModel Global = Models.Random(1);
    private static readonly RoundOptions WithStatistics = new() { Statistics = true };

    [TestCase("fedavg"), TestCase("krum"), TestCase("norm-clip"), TestCase("fedicu,fedadam"), TestCase("geometric-median")]
    public void CosinesAreThoseOfTheWholeUpdates(string strategy)
    {
        (string, string)[] settings = strategy == "norm-clip" ? [("clip-norm", "1")] : [];
        RoundReport report = Run(strategy, WithStatistics, Updates(), settings);
        ClientSimilarities found = report.Similarities!;
        Assert.That(found.Clients, Is.EqualTo(Updates().Select(update => update.Id)), "also those that a weighting leaves out");
        Assert.That(found.Cosines, Has.Count.EqualTo(ClientCount * (ClientCount - 1) / 2));
        double[][] updates = [.. Enumerable.Range(0, ClientCount).Select(Difference)];
        for (int k = 0; k < ClientCount; k++)
        {
            for (int j = 0; j < ClientCount; j++)
                Assert.That(found[j, k], Is.EqualTo(Cosine(updates[j], updates[k])).Within(1e-12), $"{j}, {k}");
        }
    }

    [Test]
    public void ThreadsChangeNoBit()
    {
        using MemoryModel global = Models.Random(1, large: true);
        double[][] runs = [.. new[] { 1, 2, 5 }.Select(threads =>
            Run("fedavg", WithStatistics with { Threads = threads }, Updates(large: true), global).Similarities!.Cosines.ToArray())];
        Assert.That(runs[1], Is.EqualTo(runs[0]));
        Assert.That(runs[2], Is.EqualTo(runs[0]));
    }

    [Test]
    public void UpdatesThatAreSentAsDifferencesHaveTheSameCosines()
    {
        MemoryModel zero = Models.Of("w", [3], 0, 0, 0);
        ClientUpdate[] deltas = [Delta("a", 1, 2, 3), Delta("b", -2, 1, 0), Delta("c", -1, -2, -3)];
        ClientSimilarities found = Run("fedavg", WithStatistics, deltas, zero).Similarities!;
        Assert.That(found.Cosines, Is.EqualTo(new[] { 0, -1, 0.0 }).Within(1e-15));

        static ClientUpdate Delta(string id, params float[] values) =>
            ClientUpdate.FromTensors(id, Models.Of("w", [3], values), 1, UpdateKind.Delta);
    }

    [Test]
    public void TheCosineToAnUpdateOfZeroIsZero()
    {
        ClientUpdate[] updates = [ClientUpdate.FromTensors("none", Global, 1), .. Updates().Take(1)];
        Assert.That(Run("fedavg", WithStatistics, updates).Similarities!.Cosines, Is.EqualTo(new[] { 0.0 }));
    }

    [Test]
    public void TinyAndHugeUpdatesHaveCosinesWhereTheirSquaresAreNumbers()
    {
        MemoryModel zero = Models.Of64("w", [2], 0, 0);
        ClientUpdate[] updates = [Update("a", 3e-140), Update("b", -2e150), Update("c", 1e150)];
        Assert.That(Run("fedavg", WithStatistics, updates, zero).Similarities![1, 2], Is.EqualTo(-1));
        ClientUpdate[] tooLarge = [Update("a", 1e200), Update("b", 1e200)];
        RoundReport report = Run("fedavg", WithStatistics, tooLarge, zero);
        Assert.That(report.Similarities, Is.Null);
        Assert.That(report.Notes, Has.Some.StartsWith("The report states no similarities"));

        static ClientUpdate Update(string id, double value) => ClientUpdate.FromTensors(id, Models.Of64("w", [2], value, value), 1);
    }

    [Test]
    public void AClientWithNaNIsJudgedByThePolicyAndHasNoCosine()
    {
        ClientUpdate bad = ClientUpdate.FromTensors("bad", Models.Of("w", [1], float.NaN), 1);
        ClientUpdate[] updates = [bad, Good("a", 1), Good("b", 2)];
        var options = WithStatistics with { OnNonFinite = FaultPolicy.DropClient, Quorum = 2 };
        RoundReport report = Run("fedavg", options, updates, Models.Of("w", [1], 0));
        Assert.That(report.Similarities!.Clients, Is.EqualTo(new[] { "a", "b" }));
        Assert.That(report.Notes, Has.None.Contain("similarities"));

        static ClientUpdate Good(string id, float value) => ClientUpdate.FromTensors(id, Models.Of("w", [1], value), 1);
    }

    [Test]
    public void TheyAreLeftOutAboveTheLimitAndWithoutStatistics()
    {
        Assert.That(Run("fedavg", new RoundOptions(), Updates()).Similarities, Is.Null);
        Assert.That(Run("fedavg", WithStatistics with { MaxSimilarityClients = ClientCount - 1 }, Updates()).Similarities, Is.Null);
        Assert.That(Run("fedavg", WithStatistics with { MaxSimilarityClients = null }, Updates()).Similarities, Is.Not.Null);
        Assert.That(Run("fedavg", WithStatistics, Updates(), ("max-similarity-clients", "1")).Similarities, Is.Null);
        Assert.That(() => Run("fedavg", WithStatistics with { MaxSimilarityClients = 0 }, Updates()),
            Throws.TypeOf<InvalidOptionsException>().With.Message.Contains("max-similarity-clients is 0; at least 1"));
    }

    [Test]
    public void APrivateRoundStatesNone()
    {
        RoundReport report = Run("dp-fedavg", WithStatistics, Updates(), ("clip-norm", "1"), ("noise-multiplier", "0"));
        Assert.That((report.IsPrivate, report.Similarities), Is.EqualTo((true, (ClientSimilarities?)null)));
    }

    [Test]
    public void TheJsonHoldsThem()
    {
        RoundReport report = Run("fedavg", WithStatistics, Updates().Take(3));
        var read = RoundReport.FromJson(report.ToJson());
        Assert.That(read.Similarities!.Clients, Is.EqualTo(report.Similarities!.Clients));
        Assert.That(read.Similarities.Cosines, Is.EqualTo(report.Similarities.Cosines));
        RoundReport damaged = report with { Similarities = report.Similarities with { Cosines = [0.5] } };
        Assert.That(() => RoundReport.FromJson(damaged.ToJson()),
            Throws.TypeOf<FedIcuException>().With.Message.Contains("one cosine for each pair"));
        Assert.That(() => read.Similarities[0, 3], Throws.TypeOf<ArgumentOutOfRangeException>());
        Assert.That(() => read.Similarities[-1, 0], Throws.TypeOf<ArgumentOutOfRangeException>());
    }

    private static IEnumerable<ClientUpdate> Updates(bool large = false) => Enumerable.Range(0, ClientCount)
        .Select(k => ClientUpdate.FromTensors($"client-{k}", Models.Random(10 + k, scale: 1 + k, large: large), 1 + k));

    private static RoundReport Run(
        string strategy, RoundOptions options, IEnumerable<ClientUpdate> updates, params (string Name, string Value)[] settings) =>
        Run(strategy, options, updates, Global, settings);

    private static RoundReport Run(
        string strategy, RoundOptions options, IEnumerable<ClientUpdate> updates, MemoryModel global,
        params (string Name, string Value)[] settings)
    {
        ConfiguredRound configured = StrategyRegistry.Default.Create(
            strategy, [.. settings.Select(setting => KeyValuePair.Create(setting.Name, setting.Value))], options);
        return Models.RunForReport(configured.Aggregator, global, updates, configured.Options);
    }

    private static double[] Difference(int k)
    {
        using var model = Models.Random(10 + k, scale: 1 + k);
        return [.. Global.Tensors.SelectMany(tensor =>
            Models.ToDoubles(model, tensor.Name).Zip(Models.ToDoubles(Global, tensor.Name), (y, x) => y - x))];
    }

    private static double Cosine(double[] a, double[] b) => Dot(a, b) / Math.Sqrt(Dot(a, a) * Dot(b, b));

    private static double Dot(double[] a, double[] b) => a.Zip(b, (x, y) => x * y).Sum();
}
