namespace FedICU.Tests;

/// <summary>The known answers of docs/algorithms.md, which an independent float64 implementation computed.</summary>
internal sealed class KnownAnswerTests
{
    private static readonly MemoryModel Global = Models.Of64("w", [2, 2], 1, 0, 0, 2);

    private static readonly ClientUpdate[] Clients =
    [
        ClientUpdate.FromTensors("a", Models.Of64("w", [2, 2], 2, 0, 0, 2)),
        ClientUpdate.FromTensors("b", Models.Of64("w", [2, 2], 1, 1, 1, 2)),
        ClientUpdate.FromTensors("c", Models.Of64("w", [2, 2], -1, 0, 0, 3)),
    ];

    [Test]
    public void TheServersKnownAnswer()
    {
        (RoundReport report, MemorySink sink) = Models.Run(new FedIcuAggregator(), Global, Clients);
        using (sink)
        {
            TensorReport tensor = report.Tensors[0];
            Assert.That(
                tensor.Clients.Select(client => client.Score!.Value), Is.EqualTo(new[] { .40038349, .44721360, .04683010 }).Within(5e-9));
            Assert.That(
                tensor.Clients.Select(client => client.Weight!.Value), Is.EqualTo(new[] { .38074622, .60815762, .01109616 }).Within(5e-9));
            Assert.That(sink.Model.ToArray<double>("w"), Is.EqualTo(new[] { 1.29591174, .67316738, .69688164, 2.31618198 }).Within(5e-9));
        }
    }

    [Test]
    public void FedAvgWeighsByExamples()
    {
        ClientUpdate[] updates =
        [
            ClientUpdate.FromTensors("a", Models.Of("w", [3], 1, 2, 3), 1),
            ClientUpdate.FromTensors("b", Models.Of("w", [3], 5, 6, -1), 3),
        ];
        (RoundReport report, MemorySink sink) = Models.Run(new FedAvgAggregator(), Models.Of("w", [3], 0, 0, 0), updates);
        using (sink)
        {
            Assert.That(sink.Model.ToArray<float>("w"), Is.EqualTo(new float[] { 4, 5, 0 }));
            Assert.That(report.Clients.Select(client => client.Share), Is.EqualTo(new[] { .25, .75 }));
        }
    }

    [TestCase(MaskRule.Hard, new[] { 1, -.6, .8, .1 })]
    [TestCase(MaskRule.Soft, new[] { 1, -.6, .766849, .1 })]
    public void TheClientsKnownAnswers(MaskRule rule, double[] expected)
    {
        // the known answer states u itself, so the momentum is supplied
        var options = new FedIcuClientOptions { Mask = rule, Momentum = FedICU.Compute.MomentumRule.Supplied };
        using var sink = new MemorySink();
        MaskReport report = new FedIcuClient(options).CreateUpdate(
            Models.Of64("w", [4], 1, -.2, .5, .1), Models.Of64("w", [4], 1.05, -.6, .8, .12), sink,
            Models.Of64("w", [4], .05, -.4, .3, .02), dense: true);
        Assert.That(sink.Model.ToArray<double>("w"), Is.EqualTo(expected).Within(5e-7));
        Assert.That(report.Tensors[0].Sent, Is.EqualTo(2));
    }

    [Test]
    public void AProximalTermIsFiniteEvenIfItsSquaresOverflow()
    {
        // 1e-100 / 2 * (3e200^2 + 4e200^2)
        Assert.That(new ProximalTerm(1e-100).Value<double>([3e200, 1], [0, -4e200]), Is.EqualTo(1.25e301).Within(2).Ulps);
        Assert.That(new ProximalTerm(0).Value<double>([1e200], [0]), Is.Zero);
        Assert.That(new ProximalTerm(1).Value<double>([1e200], [0]), Is.EqualTo(double.PositiveInfinity));
    }

    [Test]
    public void TheProximalTermsKnownAnswer()
    {
        var term = new ProximalTerm(0.5);
        float[] gradient = [1, 1, 1];
        double value = term.AddGradient<float>([1, 2, 3], [0, 2, 5], gradient);
        Assert.That(value, Is.EqualTo(0.25 * 5));
        Assert.That(gradient, Is.EqualTo(new[] { 1.5f, 1, 0 }));
    }
}
