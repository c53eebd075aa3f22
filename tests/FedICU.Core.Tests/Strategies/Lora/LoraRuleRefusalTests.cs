namespace FedICU.Tests;

/// <summary>Rounds of LoRA pairs that are refused with one sentence.</summary>
internal sealed class LoraRuleRefusalTests
{
    private static readonly LoraClient Global = new(new double[2 * 4], new double[3 * 2], 4, 1) { Inputs = 4 };

    private static readonly LoraClient Good = new([1, 2, 3, 4, 5, 6, 7, 8], [1, 2, 3, 4, 5, 6], 4, 1) { Inputs = 4 };

    private static readonly LoraClient One = new([1, 2, 3, 4], [1, 2, 3], 4, 1) { Inputs = 4 };

    [TestCase("flora")]
    [TestCase("flexlora")]
    [TestCase("hetlora")]
    public void AnotherNumberOfInputs(string rule) =>
        Refuse(rule, [Good, new LoraClient(new double[2 * 5], new double[3 * 2], 4, 1) { Inputs = 5 }], "has the shape [2, 5]");

    [Test]
    public void AnotherRankWhereMeansAreTaken() =>
        Refuse("fedex-lora", [Good, new LoraClient([1, 2, 3, 4], [1, 2, 3], 4, 1) { Inputs = 4 }], "r 1 against 2");

    [TestCase("flexlora")]
    [TestCase("hetlora")]
    public void ARankAboveTheOutputs(string rule) =>
        Refuse(rule, [Good, new LoraClient(new double[16], new double[12], 4, 1) { Inputs = 4 }], "is above the weight's outputs");

    [Test]
    public void AWrittenRankAboveTheOutputs() => Refuse("flexlora", [Good], "a rank from 1 to 3 was expected", "rank=4");

    [Test]
    public void NotANumberInAFactor() =>
        Refuse("flexlora", [Good, Good with { A = [1, double.NaN, 3, 4, 5, 6, 7, 8] }], "has 1 value that is NaN or infinite");

    [Test]
    public void NotANumberInAFactorOfAnotherRank() =>
        Refuse("hetlora", [Good, One with { A = [1, 2, double.NaN, 4] }], "has 1 value that is NaN or infinite");

    [Test]
    public void AChangedAWhereItIsFrozen() =>
        Refuse("ffa-lora", [Good], "expects the same A, bit for bit");

    [Test]
    public void StagesThatCompareWholeModels() => Refuse(
        "krum,flora", [Good, Good, Good, One], "'krum' before 'flora' needs equal ranks");

    [Test]
    public void StagesThatCompareWholeModelsOfEqualRanksWork()
    {
        LoraResult result = LoraClient.Run("krum,flora", [Good, Good, Good with { A = [9, 9, 9, 9, 9, 9, 9, 9] }], Global);
        Assert.That(result.Rank, Is.EqualTo(2), "krum leaves one client");
    }

    [Test]
    public void AServerStep() => Assert.That(
        () => StrategyRegistry.Default.Create("flora,fedadam", []),
        Throws.TypeOf<InvalidOptionsException>().With.Message.Contain("'fedadam' cannot follow 'flora'"));

    [Test]
    public void AStepThatRewritesAFrozenA() => Assert.That(
        () => StrategyRegistry.Default.Create("ffa-lora,balance", []),
        Throws.TypeOf<InvalidOptionsException>().With.Message.Contain("'balance' cannot follow 'ffa-lora'"));

    [Test]
    public void ARankOfZero() => Assert.That(
        () => StrategyRegistry.Default.Create("flexlora", [KeyValuePair.Create("rank", "0")]),
        Throws.TypeOf<InvalidOptionsException>().With.Message.Contain("a whole number of at least 1 was expected"));

    [Test]
    public void AModelWithoutPairs()
    {
        using MemoryModel model = Models.Of64("w", [2], 1, 2);
        var round = new AggregationRound(model) { ClientUpdate.FromTensors("a", Models.Of64("w", [2], 1, 2)) };
        using var sink = new MemorySink();
        Assert.That(
            () => new FLoraAggregator().AggregateAsync(round, sink).GetAwaiter().GetResult(),
            Throws.TypeOf<RoundRejectedException>().With.Message.Contain("the global model has none"));
    }

    [TestCase("lora_E", "AdaLoRA: lora_E")]
    [TestCase("lora_magnitude_vector", "DoRA: lora_magnitude_vector")]
    public void VariantsOfLora(string kind, string reason)
    {
        using MemoryModel model = Bare();
        model.Add($"m.{kind}", [1], new double[] { 1 });
        var round = new AggregationRound(model) { ClientUpdate.FromTensors("a", model) };
        using var sink = new MemorySink();
        Assert.That(
            () => new FlexLoraAggregator().AggregateAsync(round, sink).GetAwaiter().GetResult(),
            Throws.TypeOf<RoundRejectedException>().With.Message.Contain($"module 'm' of the global model is none: {reason}."));
    }

    [Test]
    public void BareArraysWithoutAScaling()
    {
        using MemoryModel global = Bare(), client = Bare();
        var round = new AggregationRound(global) { ClientUpdate.FromTensors("a", client) };
        using var sink = new MemorySink();
        Assert.That(
            () => new FLoraAggregator().AggregateAsync(round, sink).GetAwaiter().GetResult(),
            Throws.TypeOf<RoundRejectedException>().With.Message.Contain("lora-scaling was expected"));
        new FLoraAggregator(new FLoraOptions { LoraScaling = 2 }).AggregateAsync(round, sink).GetAwaiter().GetResult();
        Assert.That(sink.Model.ToArray<double>("m.lora_A.weight"), Is.EqualTo(new double[] { 1, 2 }), "the readers keep the scaling");
    }

    [Test]
    public void KohyasAlphaIsWritten()
    {
        using MemoryModel global = Kohya(2, 8), first = Kohya(2, 8), second = Kohya(1, 3);
        var round = new AggregationRound(global)
        {
            ClientUpdate.FromTensors("a", first, 1), ClientUpdate.FromTensors("b", second, 1),
        };
        using var sink = new MemorySink();
        new FLoraAggregator().AggregateAsync(round, sink).GetAwaiter().GetResult();
        Assert.That(sink.Model.ToArray<double>("m.alpha"), Is.EqualTo(new double[] { 3 }));
        // w s of both: 0.5 * 4, 0.5 * 3
        Assert.That(sink.Model.ToArray<double>("m.lora_down.weight"), Is.EqualTo(new double[] { 2, 2, 2, 2, 1.5, 1.5 }));
    }

    private static MemoryModel Kohya(int rank, double alpha) => new()
    {
        { "m.lora_down.weight", [rank, 2], Enumerable.Repeat(1.0, rank * 2).ToArray() },
        { "m.lora_up.weight", [2, rank], Enumerable.Repeat(1.0, rank * 2).ToArray() },
        { "m.alpha", [], new[] { alpha } },
    };

    private static MemoryModel Bare() => new()
    {
        { "m.lora_A.weight", [1, 2], new double[] { 1, 2 } }, { "m.lora_B.weight", [2, 1], new double[] { 3, 4 } },
    };

    private static void Refuse(string rule, LoraClient[] clients, string expected, params string[] options) => Assert.That(
        () => LoraClient.Run(rule, clients, Global, options),
        Throws.InstanceOf<FedIcuException>().With.Message.Contain(expected).And.Message.Length.LessThanOrEqualTo(1000));
}
