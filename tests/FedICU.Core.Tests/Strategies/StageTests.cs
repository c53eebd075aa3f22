namespace FedICU.Tests;

/// <summary>What each kind of stage may decide, and how stages compose, with stages of this test.</summary>
internal sealed class StageTests
{
    private static readonly MemoryModel Global = new() { { "w", [3], new float[] { 1, 2, 3 } }, { "steps", [1], new long[] { 100 } } };

    [Test]
    public void FactorsMultiplyUpdatesBeforeAnyMerge()
    {
        var halves = new Weights((plan, weights) => weights.Factors.Fill(.5));
        foreach (MergeRule merge in (MergeRule[])[new FedAvg(), new Median()])
        {
            using MemoryModel next = Run(new StageAggregator(halves, merge), [3, 2, 3], [3, 4, 3], [3, 6, 3]);
            Assert.That(next.ToArray<float>("w"), Is.EqualTo(new float[] { 2, 3, 3 }), merge.Name);
        }
    }

    [Test]
    public void AChoiceLeavesOthersOutOfIntegersToo()
    {
        var second = new Weights((plan, weights) => weights.Choose(1));
        (RoundReport report, MemorySink sink) = RunForReport(new StageAggregator(second), [3, 2, 3], [5, 4, 3], [7, 6, 3]);
        using (sink)
        {
            Assert.That(sink.Model.ToArray<float>("w"), Is.EqualTo(new float[] { 5, 4, 3 }));
            Assert.That(sink.Model.ToArray<long>("steps"), Is.EqualTo(new[] { 101L }));
        }

        Assert.That(report.Clients.Select(client => (client.Included, client.Chosen)),
            Is.EqualTo(new[] { (true, false), (true, true), (true, false) }));
    }

    [Test]
    public void WeightsReplaceTheNumbersOfExamples()
    {
        var last = new Weights((plan, weights) => (weights.Weights[0], weights.Weights[1], weights.Weights[2]) = (0, 1, 3));
        using MemoryModel next = Run(new StageAggregator(last, new FedAvg()), [3, 2, 3], [5, 4, 3], [9, 8, 3]);
        Assert.That(next.ToArray<float>("w"), Is.EqualTo(new float[] { 8, 7, 3 }));
    }

    [Test]
    public void WeightsThatSumToNothingOrInfinityAreTheStagesFault([Values(0, 1e308)] double weight)
    {
        var all = new Weights((plan, weights) => weights.Weights.Fill(weight));
        Assert.That(
            () => Run(new StageAggregator(all), [3, 2, 3], [5, 4, 3]),
            Throws.TypeOf<RoundRejectedException>().With.Message.Match(
                "^'own' gave the clients weights whose sum is (0|Infinity); a finite sum above 0 was expected.$"));
    }

    [Test]
    public void AWeightOrFactorThatIsNotFiniteNamesTheRuleAndTheClient(
        [Values(double.NaN, double.PositiveInfinity)] double value, [Values] bool ofFactor)
    {
        var wrong = new Weights((plan, weights) => (ofFactor ? weights.Factors : weights.Weights)[1] = value);
        Assert.That(
            () => Run(new StageAggregator(wrong), [3, 2, 3], [5, 4, 3]),
            Throws.TypeOf<RoundRejectedException>().With.Message.StartsWith("'own' gave client '1' the weight ")
                .And.Message.EndsWith("; a finite weight of at least 0 and a finite factor were expected."));
    }

    [Test]
    public void APrivateRuleNamesNoClient()
    {
        var rule = new DpFedAvgAggregator(new DpFedAvgOptions
        {
            ClipNorm = 1,
            NoiseMultiplier = 0,
            ServerLearningRate = 1e308,
            ExpectedClients = 1e-10,
        });
        Assert.That(() => Run(rule, [3, 2, 3], [5, 4, 3]), Throws.TypeOf<RoundRejectedException>().With.Message.StartsWith(
            "'dp-fedavg' gave a client a weight or a factor that is not finite;"));
    }

    [Test]
    public void FactorsOfZeroLeaveTheGlobalModel()
    {
        var none = new Weights((plan, weights) => weights.Factors.Clear());
        using MemoryModel next = Run(new StageAggregator(none), [3, 2, 3], [5, 4, 3]);
        Assert.That(next.ToArray<float>("w"), Is.EqualTo(new float[] { 1, 2, 3 }));
    }

    [Test]
    public void AnOutputOfOtherElementsIsTheMergesFault() => Assert.That(
        () => Run(new StageAggregator(new Halved()), [3, 2, 3]),
        Throws.InvalidOperationException.With.Message.Contains("number of elements was expected"));

    [Test]
    public void SumsOfAnotherLengthAreRefused()
    {
        var tooMany = new Weights((_, _) => { }, "counts", new OneSumTooMany());
        Assert.That(() => Run(new StageAggregator(tooMany), [3, 2, 3]), Throws.ArgumentException);
    }

    [Test]
    public void AStateInMemoryRefusesAnEarlierRound()
    {
        using RoundState state = RoundState.InMemory();
        Run(5);
        foreach (long number in (long[])[2, 5])
        {
            Assert.That(() => Run(number), Throws.TypeOf<RoundRejectedException>().With.Message.EqualTo(
                $"The state in memory is of round 5; one of a round before {number} was expected."));
        }

        Run(6);
        Run(null);
        Run(1);
        Assert.That(state.RoundsFinished, Is.EqualTo(4), "a round without a number leaves nothing to compare");

        void Run(long? number)
        {
            var round = new AggregationRound(Global, new RoundOptions { Round = number }) { State = state };
            round.Add(ClientUpdate.FromTensors("a", Global));
            new FedAdamAggregator().AggregateAsync(round, TensorSink.Discard).GetAwaiter().GetResult();
        }
    }

    [Test]
    public void AStateInMemoryServesOneRoundAtATime()
    {
        using RoundState state = RoundState.InMemory();
        var nested = new Weights((_, _) => Assert.That(Start, Throws.InstanceOf<RoundRejectedException>()));
        Run(new StageAggregator(nested, new FedAdam()));
        Run(new StageAggregator(nested, new FedAdam()));
        Assert.That(state.RoundsFinished, Is.EqualTo(2));

        void Start() => Run(new FedAdamAggregator());

        void Run(IAggregator aggregator)
        {
            var round = new AggregationRound(Global) { State = state };
            round.Add(ClientUpdate.FromTensors("a", Global));
            aggregator.AggregateAsync(round, TensorSink.Discard).GetAwaiter().GetResult();
        }
    }

    [Test]
    public void BalancingComesAfterTheServersSteps() => Assert.That(
        StrategyRegistry.Default.Create("fedicu,fedadam", [KeyValuePair.Create("preset", "balanced")]).Aggregator.Name,
        Is.EqualTo("fedicu,fedadam,balance"));

    [Test]
    public void AWeightingSeesWhatTheOneBeforeItLeft()
    {
        var seen = new List<double>();
        var first = new Weights((plan, weights) =>
        {
            weights.Choose(0, 2);
            weights.Factors[2] = 2;
        });
        var second = new Weights(
            (plan, _) => seen.AddRange(plan[RoundStatistic.SquaredNorms]), "second", RoundStatistic.SquaredNorms);
        Run(new StageAggregator(first, second), [2, 2, 3], [9, 9, 9], [1, 2, 4]).Dispose();
        Assert.That(seen, Is.EqualTo(new[] { 1.0, 4 }), "two clients, the second one's update doubled");
    }

    [Test]
    public void ATransformChangesEachUpdate()
    {
        using MemoryModel next = Run(new StageAggregator(new KeepsTheLargest(), new FedAvg()), [1, 2, 9], [4, 3, 3], [1, 2, 3]);
        Assert.That(next.ToArray<float>("w"), Is.EqualTo(new float[] { 2, 2, 5 }));
    }

    [Test]
    public void StepsFollowEachOther()
    {
        using MemoryModel next = Run(new StageAggregator(new Scale("double", 2), new Scale("add", 1, 1)), [2, 2, 3], [2, 2, 3]);
        Assert.That(next.ToArray<float>("w"), Is.EqualTo(new float[] { 4, 3, 4 }));
    }

    [Test]
    public void AStatisticMayFollowAnother()
    {
        var largest = new Weights((plan, weights) =>
            Assert.That(plan[new SumOfShares()].ToArray(), Is.EqualTo(new[] { 1.0 }).Within(1e-15)), "shares", new SumOfShares());
        Run(new StageAggregator(largest), [2, 2, 3], [1, 4, 3]).Dispose();
    }

    [Test]
    public void AStatisticThatWasNotNamedIsRefused()
    {
        var careless = new Weights((plan, weights) => plan[RoundStatistic.SquaredNorms].CopyTo(weights.Weights));
        Assert.That(() => Run(new StageAggregator(careless), [2, 2, 3]), Throws.InvalidOperationException.With.Message.EqualTo(
            "The statistic 'squared-norms' was not measured: name it in the stage's Statistics."));
    }

    [Test]
    public void AMergeDecidesShapesAndOutputs()
    {
        using var global = Models.Of("w", [2], 1, 1);
        (_, MemorySink sink) = Models.Run(new StageAggregator(new Doubled()), global,
            [ClientUpdate.FromTensors("a", Models.Of("w", [2], 3, 5)), ClientUpdate.FromTensors("b", Models.Of("w", [2], 5, 5))]);
        using (sink)
            Assert.That(sink.Model.Tensors.Single(), Is.EqualTo(new TensorInfo("w", DType.F64, new TensorShape(2))));
        Assert.That(
            () => Models.Run(new StageAggregator(new Doubled()), global, [ClientUpdate.FromTensors("a", Models.Of("w", [3], 1, 2, 3))]),
            Throws.TypeOf<RoundRejectedException>().With.Message.StartsWith("Client 'a': tensor 'w' has the shape [3]; [2] was expected."));
    }

    [TestCase("fedadam,median", "'median' is a merge and comes after 'fedadam', a server step;")]
    [TestCase("median,krum", "'krum' is a weighting and comes after 'median', a merge;")]
    [TestCase("median,fedavg", "'median' and 'fedavg' are both merges; a rule has one.")]
    [TestCase("bulyan,median", "'bulyan' and 'median' are both merges; a rule has one.")]
    [TestCase("krum,krum", "The stage 'krum' was given twice.")]
    [TestCase("bulyan,bulyan", "The stage 'bulyan' was given twice.")]
    [TestCase("scaffold,scaffold", "The stage 'scaffold' was given twice.")]
    [TestCase("fedadam,bulyan", "'bulyan' is a weighting and comes after 'fedadam', a server step;")]
    [TestCase("krum,fedsgd", "The strategy 'fedsgd' is unknown;")]
    [TestCase("", "The strategy '' is unknown;")]
    public void CompositionsThatMakeNoSenseAreRefused(string strategy, string sentence) => Assert.That(
        () => StrategyRegistry.Default.Create(strategy, []),
        Throws.TypeOf<InvalidOptionsException>().With.Message.Contains(sentence));

    [Test]
    public void AnOptionOfTwoStagesNeedsItsStage()
    {
        Assert.That(() => StrategyRegistry.Default.Create("fedicu,fedadam", [new("tau", "0.2")]),
            Throws.TypeOf<InvalidOptionsException>().With.Message.Contains(
                "Option 'tau' belongs to several stages; 'fedicu.tau' says which one it is for."));
        StageAggregator rule =
            StrategyRegistry.Default.Create("fedicu,fedadam", [new("fedicu.tau", "0.2"), new("fedadam.tau", "0.5")]).Aggregator;
        Assert.That((((FedIcu)rule.Stages[0]).Options.Tau, ((FedAdam)rule.Stages[1]).Options.Tau), Is.EqualTo((0.2, 0.5)));
        Assert.That(() => StrategyRegistry.Default.Create("median,fedadam", [new("weighting", "uniform")]),
            Throws.TypeOf<InvalidOptionsException>().With.Message.Contains("Option 'weighting' is unknown;"));
        Assert.That(() => StrategyRegistry.Default.Create("krum", [new("krum.byzantine", "1"), new("byzantine", "1")]),
            Throws.TypeOf<InvalidOptionsException>().With.Message.Contains("was given twice"));
    }

    [TestCase(2, null, "'krum' needs at least 3 clients (2 byzantine + 3); 2 clients of a weight above 0 take part.")]
    [TestCase(4, 1, "'krum' with byzantine 1 needs at least 5 clients (2 byzantine + 3); 4 clients of a weight above 0 take part.")]
    public void KrumNeedsClients(int clients, int? byzantine, string sentence) => Assert.That(
        () => Run(
            new KrumAggregator(new KrumOptions { Byzantine = byzantine }),
            [.. Enumerable.Range(0, clients).Select(k => new float[] { k, 2, 3 })]),
        Throws.TypeOf<RoundRejectedException>().With.Message.EqualTo(sentence));

    private static MemoryModel Run(IAggregator rule, params float[][] clients) => RunForReport(rule, clients).Sink.Model;

    private static (RoundReport Report, MemorySink Sink) RunForReport(IAggregator rule, params float[][] clients) => Models.Run(
        rule, Global,
        [.. clients.Select((w, k) => ClientUpdate.FromTensors(
            $"{k}", new MemoryModel { { "w", [3], w }, { "steps", [1], new[] { 100L + k } } }, 1))]);

    private sealed class Weights(Action<RoundPlan, ClientWeights> weigh, string name = "own", params RoundStatistic[] statistics)
        : ClientWeighting
    {
        public override string Name => name;

        public override IReadOnlyList<RoundStatistic> Statistics => statistics;

        public override void Weigh(RoundPlan plan, ClientWeights weights) => weigh(plan, weights);
    }

    /// <summary>Keeps the largest entry of each update; which one it is, depends on the whole tensor.</summary>
    private sealed class KeepsTheLargest : UpdateTransform
    {
        public override string Name => "largest";

        public override double[][] Prepare(TensorContext tensor)
        {
            double[] squares = new double[tensor.Clients.Count];
            tensor.AddSquaredNorms(squares);
            return [.. squares.Select(square => new[] { Math.Sqrt(square / 2) })];
        }

        public override void Apply(UpdateBlock block)
        {
            foreach (ref double entry in block.Update)
                entry = Math.Abs(entry) > block.Numbers[0] ? entry : 0;
        }
    }

    private sealed class Scale(string name, double factor, double shift = 0) : ServerStep
    {
        public override string Name => name;

        public override void Apply(ElementBlock block)
        {
            foreach (ref double entry in block.Update)
                entry = entry * factor + shift;
        }
    }

    private sealed class SumOfShares : RoundStatistic
    {
        public override string Name => "shares";

        public override IReadOnlyList<RoundStatistic> After => [SquaredNorms];

        public override int Count(int clients) => 1;

        public override void Measure(TensorContext tensor, Span<double> sums)
        {
            double[] own = new double[tensor.Clients.Count];
            tensor.AddSquaredNorms(own);
            ReadOnlySpan<double> all = tensor.Plan[SquaredNorms];
            double total = 0;
            foreach (double norm in all)
                total += norm;
            foreach (double norm in own)
                sums[0] += norm / total;
        }
    }

    private sealed class OneSumTooMany : RoundStatistic
    {
        public override string Name => "one too many";

        public override int Count(int clients) => clients + 1;

        public override void Measure(TensorContext tensor, Span<double> sums) => tensor.AddSquaredNorms(sums);
    }

    private sealed class Halved : MergeRule
    {
        public override string Name => "halved";

        public override TensorInfo GetOutput(TensorInfo tensor, RoundPlan plan) => tensor with { Shape = new TensorShape(1) };

        public override void Merge(TensorContext tensor) => tensor.WeightedMean();
    }

    private sealed class Doubled : MergeRule
    {
        public override string Name => "wide";

        public override TensorInfo GetOutput(TensorInfo tensor, RoundPlan plan) => tensor with { DType = DType.F64 };

        public override void Merge(TensorContext tensor) => tensor.WeightedMean();
    }
}
