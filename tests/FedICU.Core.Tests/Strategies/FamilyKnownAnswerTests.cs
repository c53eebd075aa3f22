namespace FedICU.Tests;

/// <summary>Known answers of the family's rules, from an independent float64 implementation.</summary>
internal sealed class FamilyKnownAnswerTests
{
    private const double Tolerance = 5e-9;

    [Test]
    public void FedAdamsFirstRound()
    {
        using RoundState state = RoundState.InMemory();
        Assert.That(Run(new FedAdamAggregator(), state), Is.EqualTo(new[] { 1.09900505, -1.90391929 }).Within(Tolerance));
        Assert.That(state.Memory!.Model.ToArray<double>("w#v"), Is.EqualTo(new[] { .01000099, .00062599 }).Within(Tolerance));
        Assert.That(state.Memory!.Model.ToArray<double>("w#m"), Is.EqualTo(new[] { .1, .025 }).Within(1e-16));
    }

    [TestCase(BiasCorrection.None, 1.24585338, -3.52290186)]
    [TestCase(BiasCorrection.Folded, 1.14191036, -2.87904244)]
    [TestCase(BiasCorrection.Torch, 1.14242061, -2.90503502)]
    [TestCase(BiasCorrection.Flower, 1.13290882, -2.82328374)]
    public void FedAdamsFourthRound(BiasCorrection correction, double first, double second)
    {
        using RoundState state = State("fedadam", 3, ("w#m", [.5, -.5]), ("w#v", [.04, .0001]));
        Assert.That(Run(new FedAdamAggregator(new FedAdamOptions { BiasCorrection = correction }), state),
            Is.EqualTo(new[] { first, second }).Within(Tolerance));
        Assert.That(state.Memory!.Model.ToArray<double>("w#v"), Is.EqualTo(new[] { .0496, .000724 }).Within(1e-15));
        Assert.That(state.RoundsFinished, Is.EqualTo(4));
    }

    [Test]
    public void TheMedianOfThreeAndOfFour()
    {
        Assert.That(Run(new MedianAggregator()), Is.EqualTo(new double[] { 2, -2 }));
        Assert.That(Run(new MedianAggregator(), null, [0, 0]), Is.EqualTo(new[] { 1.5, -1 }));
    }

    [Test]
    public void KrumsScoresAndItsTie()
    {
        double[] values = [0, 1, 1.5, 3, 10, -1, 2];
        using var global = Models.Of64("w", [1], 0);
        (RoundReport report, MemorySink sink) = Models.Run(new KrumAggregator(), global,
            [.. values.Select((value, k) => ClientUpdate.FromTensors($"{k}", Models.Of64("w", [1], value), 1 + k))]);
        using (sink)
            Assert.That(sink.Model.ToArray<double>("w"), Is.EqualTo(new double[] { 1 }));
        Assert.That(report.Stages.Single().Values, Is.EqualTo(new[] { 4.25, 2.25, 2.75, 7.25, 185.25, 11.25, 2.25 }));
        Assert.That(report.Clients.Where(client => client.Chosen).Select(client => client.Id), Is.EqualTo(new[] { "1" }), "ties with 6");
    }

    internal static double[] Run(IAggregator aggregator, RoundState? state = null, params double[][] more)
    {
        using var global = Models.Of64("w", [2], 1, -2);
        double[][] clients = [[2, -2], [1, 0], [4, -5], .. more];
        var round = new AggregationRound(global) { State = state };
        foreach ((int k, double[] client) in clients.Index())
            round.Add(ClientUpdate.FromTensors($"{k}", Models.Of64("w", [2], client), k == 1 ? 2 : 1));
        using var sink = new MemorySink();
        aggregator.AggregateAsync(round, sink).GetAwaiter().GetResult();
        return sink.Model.ToArray<double>("w");
    }

    internal static RoundState State(string rule, long rounds, params (string Name, double[] Values)[] tensors)
    {
        RoundState state = RoundState.InMemory();
        var infos = tensors.Select(tensor => new TensorInfo(tensor.Name, DType.F64, new TensorShape(tensor.Values.Length))).ToList();
        state.Memory!.Begin(infos, new Dictionary<string, string>());
        for (int i = 0; i < infos.Count; i++)
            state.Memory.Write(infos[i], 0, System.Runtime.InteropServices.MemoryMarshal.AsBytes(tensors[i].Values.AsSpan()));
        state.Memory.Commit();
        (state.Rule, state.RoundsFinished) = (rule, rounds);
        return state;
    }
}
