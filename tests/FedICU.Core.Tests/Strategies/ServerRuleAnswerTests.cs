namespace FedICU.Tests;

/// <summary>
/// Known answers of the server's rules and of rules that read statements, from an independent implementation.
/// </summary>
internal sealed class ServerRuleAnswerTests
{
    private const double Tolerance = 5e-9;

    [Test]
    public void FedAvgM()
    {
        double[] m = [.5, -.5];
        AssertRun(new FedAvgMAggregator(), State("fedavgm", ("w#m", m)), [2.45, -2.2], ("w#m", [1.45, -.2]));
        AssertRun(new FedAvgMAggregator(new FedAvgMOptions { Nesterov = true }), State("fedavgm", ("w#m", m)), [3.305, -1.93]);
        AssertRun(
            new FedAvgMAggregator(new FedAvgMOptions { Form = MomentumForm.Ema }), State("fedavgm", ("w#m", m)), [1.55, -2.425],
            ("w#m", [.55, -.425]));
    }

    [Test]
    public void FedAdagradAndFedYogi()
    {
        (string, double[])[] moments = [("w#m", [.5, -.5]), ("w#v", [.04, .0001])];
        AssertRun(new FedAdagradAggregator(), RoundState.InMemory(), [1.09990005, -1.90039920], ("w#v", [1.000001, .062501]));
        AssertRun(new FedAdagradAggregator(), State("fedadagrad", moments), [1.09796201, -1.90047768], ("w#v", [1.04, .0626]));
        AssertRun(new FedYogiAggregator(), RoundState.InMemory(), [1.00990050, -1.99039200], ("w#v", [.010001, .000626]));
        AssertRun(new FedYogiAggregator(), State("fedyogi", moments), [1.02448724, -2.15218888], ("w#v", [.05, .000725]));
    }

    [Test]
    public void FedNova()
    {
        ClientStatements[] steps = Steps(1, 4, 2);
        AssertRun(new FedNovaAggregator(), null, steps, [2.71875, -2.34375]);
        AssertRun(new FedNovaAggregator(new FedNovaOptions { LocalMomentum = .5 }), null, steps, [3.165625, -2.53839286]);
        AssertRun(
            new FedNovaAggregator(new FedNovaOptions { LocalProx = .1, EffectiveSteps = EffectiveSteps.Steps }), null, steps,
            [2.77302632, -2.28587525]);
    }

    [Test]
    public void ScaffoldDerived() => AssertRun(
        new ScaffoldAggregator(new ScaffoldOptions { Population = 6, Control = ScaffoldControl.Derived, LocalLearningRate = .5 }),
        State("scaffold", ("w#c", [.1, -.1])), Steps(1, 2, 4), [2.33333333, -2.33333333], ("w#c", [-.53333333, -.13333333]));

    [Test]
    public void QFedAvg() => AssertRun(
        new QFedAvgAggregator(new QFedAvgOptions { Q = 1, LocalLearningRate = .5 }), null,
        [.. new[] { 1, .5, 2 }.Select(loss => new ClientStatements { Loss = loss })], [1.14141414, -2.10101010]);

    [Test]
    public void FedDyn() => AssertRun(
        new FedDynAggregator(new FedDynOptions { Population = 6 }), State("feddyn", ("w#s", [.1, .2])), [3.1, -2.3],
        ("w#s", [.76666667, .03333333]));

    [Test]
    public void FedBuff() => AssertRun(
        new FedBuffAggregator(), null, [.. new[] { 0, 3, 8 }.Select(late => new ClientStatements { Staleness = late })], [1.66666667, -2]);

    [Test]
    public void NormClip()
    {
        AssertRun(new NormClipAggregator(), null, [1.60355339, -1.35355339]);
        AssertRun(
            new NormClipAggregator(new NormClipOptions { ClipNorm = 1, Weighting = Weighting.Uniform }), null, [1.56903559, -1.90236893]);
    }

    [Test]
    public void DpFedAvg()
    {
        AssertRun(
            new DpFedAvgAggregator(new DpFedAvgOptions { ClipNorm = 1, NoiseMultiplier = .5, ExpectedClients = 4, Seed = 7 }),
            State("dp-fedavg", 2), null, [1.65467251, -2.05351246]);
        using RoundState state = State("dp-fedavg", 2, ("#clip", [2]));
        AssertRun(
            new DpFedAvgAggregator(new DpFedAvgOptions
            {
                ClipNorm = 2,
                NoiseMultiplier = .5,
                ExpectedClients = 3,
                Seed = 7,
                AdaptiveClip = true,
                CountStandardDeviation = .6,
            }), state, null, [2.47325544, -2.17650900], ("#clip", [1.89416415]));
    }

    [Test]
    public void BulyanSelectsInOrder()
    {
        double[] values = [0, 1, 1.5, 3, 10, -1, 2];
        using var global = Models.Of64("w", [1], 0);
        (RoundReport report, MemorySink sink) = Models.Run(new BulyanAggregator(), global,
            [.. values.Select((value, k) => ClientUpdate.FromTensors($"{k}", Models.Of64("w", [1], value), 1))]);
        using (sink)
            Assert.That(sink.Model.ToArray<double>("w"), Is.EqualTo(new[] { 1.5 }));
        Assert.That(report.Stages.Single(stage => stage.Name == "chosen").Values, Is.EqualTo(new double[] { 2, 4, 1, 5, 0, 0, 3 }));
    }

    [TestCase("dp-fedavg,median")]
    [TestCase("norm-clip,dp-fedavg")]
    [TestCase("krum,dp-fedavg")]
    public void NoiseOverAMergeWithoutBoundIsRefused(string strategy) => Assert.That(
        () => StrategyRegistry.Default.Create(
            strategy, [KeyValuePair.Create("dp-fedavg.clip-norm", "1"), KeyValuePair.Create("noise-multiplier", "1")]),
        Throws.InstanceOf<InvalidOptionsException>().With.Message.Contains("cannot be combined"));

    [TestCase("scaffold")]
    [TestCase("feddyn")]
    public void AStateThatSumsUpdatesIsRefusedInOneSentenceBesideNoise(string step) => Assert.That(
        () => StrategyRegistry.Default.Create($"dp-fedavg,{step}", [new("clip-norm", "1"), new("noise-multiplier", "1")]),
        Throws.InstanceOf<InvalidOptionsException>().With.Property("Errors").Count.EqualTo(1));

    private static ClientStatements[] Steps(params double[] steps) =>
        [.. steps.Select(count => new ClientStatements { LocalSteps = count })];

    private static void AssertRun(
        IAggregator aggregator, RoundState? state, double[] expected, params (string Name, double[] Values)[] kept) =>
        AssertRun(aggregator, state, null, expected, kept);

    private static void AssertRun(
        IAggregator aggregator, RoundState? state, ClientStatements[]? statements, double[] expected,
        params (string Name, double[] Values)[] kept)
    {
        using var global = Models.Of64("w", [2], 1, -2);
        double[][] clients = [[2, -2], [1, 0], [4, -5]];
        var round = new AggregationRound(global) { State = state };
        foreach ((int k, double[] client) in clients.Index())
            round.Add(ClientUpdate.FromTensors($"{k}", Models.Of64("w", [2], client), k == 1 ? 2 : 1, statements: statements?[k]));
        using var sink = new MemorySink();
        aggregator.AggregateAsync(round, sink).GetAwaiter().GetResult();
        Assert.That(sink.Model.ToArray<double>("w"), Is.EqualTo(expected).Within(Tolerance));
        foreach ((string name, double[] values) in kept)
            Assert.That(state!.Memory!.Model.ToArray<double>(name), Is.EqualTo(values).Within(Tolerance), name);
    }

    private static RoundState State(string rule, params (string Name, double[] Values)[] tensors) => State(rule, 3, tensors);

    private static RoundState State(string rule, long rounds, params (string Name, double[] Values)[] tensors)
    {
        RoundState state = RoundState.InMemory();
        (TensorInfo Info, double[] Values)[] all =
        [
            .. tensors.Select(one =>
                (new TensorInfo(one.Name, DType.F64, one.Name[0] == '#' ? new TensorShape() : new TensorShape(2)), one.Values)),
        ];
        state.Memory!.Begin([.. all.Select(one => one.Info)], new Dictionary<string, string>());
        foreach ((TensorInfo info, double[] values) in all)
            state.Memory.Write(info, 0, System.Runtime.InteropServices.MemoryMarshal.AsBytes(values.AsSpan()));
        state.Memory.Commit();
        (state.Rule, state.RoundsFinished) = (rule, rounds);
        return state;
    }
}
