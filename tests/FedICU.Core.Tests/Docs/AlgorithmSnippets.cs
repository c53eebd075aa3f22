namespace FedICU.Tests.Docs;

/// <summary>Runs what docs/algorithms.md shows.</summary>
internal sealed class AlgorithmSnippets : SnippetFixture
{
    [Test]
    public void TheProximalTerm()
    {
        float[] weights = [1, 2, 3], received = [0, 2, 5], gradient = [1, 1, 1];
        double loss = 10;

        #region proximal
        var term = new ProximalTerm(mu: 0.5);
        // after the loss's own gradient, for each tensor: gradient += mu (w - x), loss += mu/2 ||w - x||^2
        loss += term.AddGradient<float>(weights, received, gradient);
        #endregion

        Assert.That(loss, Is.EqualTo(11.25));
        Assert.That(gradient, Is.EqualTo(new[] { 1.5f, 1, 0 }));
    }

    [Test]
    public async Task ScoresOfYourOwn()
    {
        PutRound();
        using TensorSource global = TensorSource.Open("global.safetensors");
        var round = new AggregationRound(global)
        {
            ClientUpdate.FromFile("a", "a.safetensors"),
            ClientUpdate.FromFile("b", "b.safetensors"),
        };

        #region scores
        var validationLoss = new Dictionary<string, double> { ["a"] = 1.9, ["b"] = 1.2 };
        var aggregator = new FedIcuAggregator(new FedIcuOptions { Scores = (client, tensor) => -validationLoss[client] });
        AggregationResult result = await aggregator.AggregateAsync(round, TensorSink.ToFile("next.safetensors"));
        #endregion

        double[] weights = [.. result.Report.Tensors[0].Clients.Select(client => client.Weight!.Value)];
        Assert.That(weights[1] / weights[0], Is.EqualTo(Math.Exp(7)).Within(1e-6));
        Assert.That(result.Report.Tensors[0].Clients.Select(client => client.Score), Is.EqualTo(new[] { -1.9, -1.2 }));
    }

    [Test]
    public async Task OptionsOfTheServer()
    {
        PutRound();
        using TensorSource global = TensorSource.Open("global.safetensors");
        var round = new AggregationRound(global)
        {
            ClientUpdate.FromFile("a", "a.safetensors"),
            ClientUpdate.FromFile("b", "b.safetensors"),
        };

        #region options
        var aggregator = new FedIcuAggregator(new FedIcuOptions
        {
            Tau = double.PositiveInfinity,
            Similarity = Similarity.MeanDirection,
            Consensus = ConsensusRule.Share,
        });
        AggregationResult result = await aggregator.AggregateAsync(round, TensorSink.ToFile("next.safetensors"));
        #endregion

        Assert.That(result.Report.Tensors[0].Clients.Select(client => client.Weight), Is.EqualTo(new[] { .5, .5 }));
    }

    [Test]
    public void OptionsOfTheClient()
    {
        var global = new MemoryModel { { "w", [4], new float[] { 1, 2, 3, 4 } } };
        var trained = new MemoryModel { { "w", [4], new float[] { 1.5f, 2, 1, 4 } } };
        using var output = new MemorySink();

        #region client-options
        var client = new FedIcuClient(new FedIcuClientOptions { Mask = MaskRule.TopRatio, TopRatio = 0.25 });
        MaskReport report = client.CreateUpdate(global, trained, output, dense: true);
        #endregion

        Assert.That(output.Model.ToArray<float>("w"), Is.EqualTo(new float[] { 1, 2, 1, 4 }));
        Assert.That(report.Tensors[0].Sent, Is.EqualTo(1));
    }

    [Test]
    public async Task Balanced()
    {
        using var global = new MemoryModel { { "w", [2, 2], new double[] { 1, 0, 0, 2 } } };

        #region balanced
        var client = new FedIcuClient(FedIcuClientOptions.Balanced);
        var server = new FedIcuAggregator(FedIcuOptions.Balanced);
        var round = new AggregationRound(global);
        #endregion

        ConfiguredRound preset = StrategyRegistry.Default.Create("fedicu", [new("preset", "balanced")]);
        Assert.That(server.Name, Is.EqualTo(preset.Aggregator.Name));
        foreach ((int k, double[] values) in new double[][] { [2, 0, 0, 2], [1, 1, 1, 2], [-1, 0, 0, 3] }.Index())
            round.Add(ClientUpdate.FromTensors($"{k}", new MemoryModel { { "w", [2, 2], values } }));

        using var next = new MemorySink();
        await server.AggregateAsync(round, next);
        Assert.That(next.Model.ToArray<double>("w"), Is.EqualTo(new[] { 1, 0.32366118, 0.76980036, 2.32366118 }).Within(1e-8));
        // the update alone decides the mask: a small change of a large value is not sent
        using var trained = new MemoryModel { { "w", [2, 2], new double[] { 1, 0.5, 0, 2.1 } } };
        using var sent = new MemorySink();
        client.CreateUpdate(global, trained, sent, dense: true);
        Assert.That(sent.Model.ToArray<double>("w"), Is.EqualTo(new[] { 1, 0.5, 0, 2 }));
    }
}
