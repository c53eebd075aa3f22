namespace FedICU.Tests;

/// <summary>Adapters with a configuration in memory, in rounds and sessions, and the cut of one.</summary>
internal sealed class AdaptersInMemoryTests : FolderFixture
{
    private static readonly LoraClient Global = new(new double[2 * 4], new double[3 * 2], 4, 1) { Inputs = 4 };

    private static readonly LoraClient[] Clients =
    [
        new([1, 2, 3, 4], [1, -2, 3], 4, 10) { Inputs = 4 },
        new([1, 2, 3, 4, 5, 6, 7, 9], [1, 2, 3, 4, -5, 6], 2, 20) { Inputs = 4 },
        new([1, 0, 3, 4, 0, 6, 7, 8, 9, 1, 2, 3], [1, 2, 3, 4, 5, 6, 7, 8, -9], 3, 30) { Inputs = 4, UseRsLora = true },
    ];

    [Test]
    public void ARoundGivesTheBitsAndTheConfigurationOfTheFolders([Values("flexlora", "flora", "hetlora")] string rule)
    {
        LoraResult folders = LoraClient.Run(rule, Clients, Global);
        AggregationResult result = Aggregate(rule, CreateRound(), out MemorySink sink);
        using (sink)
        {
            Assert.That(result.AdapterConfig!.RawJson.ToArray(), Is.EqualTo(folders.Written.RawJson.ToArray()));
            Assert.That(sink.Model.ToArray<double>(LoraClient.Module + ".lora_A.weight"), Is.EqualTo(folders.A));
            Assert.That(sink.Model.ToArray<double>(LoraClient.Module + ".lora_B.weight"), Is.EqualTo(folders.B));
        }
    }

    [Test]
    public void AMeanHasTheConfigurationOfTheRound()
    {
        LoraClient one = Global with { A = [1, 2, 3, 4, 5, 6, 7, 8] };
        var round = new AggregationRound(new MemoryModel
        {
            { LoraClient.Module + ".lora_A.weight", [2, 4], Global.A }, { LoraClient.Module + ".lora_B.weight", [3, 2], Global.B },
        });
        round.Add(ClientUpdate.FromTensors("a", one.ToModel()));
        AggregationResult result = Aggregate("fedavg", round, out MemorySink sink);
        sink.Dispose();
        Assert.That(result.AdapterConfig!.Rank, Is.EqualTo(2));
    }

    [Test]
    public void ASessionTakesOtherRanksWithTheRuleThatDoes([Values("flexlora", "flora", "hetlora")] string rule)
    {
        Aggregate(rule, CreateRound(), out MemorySink expected);
        using MemoryModel global = Global.ToModel();
        var options = new SessionOptions { Aggregator = StrategyRegistry.Default.Create(rule, []).Aggregator, CheckValues = true };
        using (AggregationSession session = AggregationSession.Create(Folder["session"], global, arrivals: options))
        {
            foreach ((int k, LoraClient client) in Clients.Index().Reverse())
                session.AddAsync(ClientUpdate.FromTensors($"{k:D2}", client.ToModel(), client.Examples)).GetAwaiter().GetResult();
        }

        using AggregationSession again = AggregationSession.Open(Folder["session"], global, arrivals: options);
        Aggregate(rule, again.ToRound(), out MemorySink made);
        using (expected)
        using (made)
            Assert.That(Models.AllBytes(made.Model), Is.EqualTo(Models.AllBytes(expected.Model)));
    }

    [Test]
    public void ASessionRefusesWhatTheRuleRefuses()
    {
        using MemoryModel global = Global.ToModel();
        using AggregationSession without = AggregationSession.Create(Folder["without"], global);
        Assert.That(
            () => Add(without, Clients[0].ToModel()), Throws.TypeOf<RoundRejectedException>().With.Message.Contain("r 1 against 2"));
        var options = new SessionOptions { Aggregator = new FlexLoraAggregator() };
        using AggregationSession session = AggregationSession.Create(Folder["session"], global, arrivals: options);
        using MemoryModel stated = new(adapterConfig: Clients[1].ToModel().AdapterConfig)
        {
            { LoraClient.Module + ".lora_A.weight", [1, 4], new double[4] },
            { LoraClient.Module + ".lora_B.weight", [3, 1], new double[3] },
        };
        Assert.That(() => Add(session, stated), Throws.TypeOf<RoundRejectedException>().With.Message.EqualTo(
            $"Client 'a': module '{LoraClient.Module}' has rank 1, but 2 in its adapter_config.json."));
        Assert.That(session.Updates, Is.Empty);

        static void Add(AggregationSession session, MemoryModel update) =>
            session.AddAsync(ClientUpdate.FromTensors("a", update, 1)).GetAwaiter().GetResult();
    }

    [Test]
    public void ACutTakesARankAboveTheWeightsSides()
    {
        AggregationResult stacked = Aggregate("flora", CreateRound(), out MemorySink sink);
        Assert.That(stacked.AdapterConfig!.Rank, Is.EqualTo(6));
        using (sink)
        using (MemoryModel adapter = new(adapterConfig: stacked.AdapterConfig))
        using (var small = new MemorySink())
        {
            foreach (TensorInfo tensor in sink.Model.Tensors)
                adapter.Add(tensor.Name, tensor.Shape.Dimensions, sink.Model.ToArray<double>(tensor.Name));
            AggregationResult cut = AdapterCut.CutAsync(adapter, 2, small).GetAwaiter().GetResult();
            LoraResult best = LoraClient.Run("flexlora", Clients, Global);
            Assert.That(cut.AdapterConfig!.Rank, Is.EqualTo(2));
            // scalings of 3 and 2: the products agree
            double scaling = cut.AdapterConfig.LoraAlpha / 2;
            Assert.That(Product(small.Model, scaling), Is.EqualTo(Product(best, best.Scaling)).Within(1e-12));
        }
    }

    private static AggregationRound CreateRound()
    {
        var round = new AggregationRound(Global.ToModel());
        foreach ((int k, LoraClient client) in Clients.Index())
            round.Add(ClientUpdate.FromTensors($"{k:D2}", client.ToModel(), client.Examples));
        return round;
    }

    private static AggregationResult Aggregate(string rule, AggregationRound round, out MemorySink sink)
    {
        sink = new MemorySink();
        return StrategyRegistry.Default.Create(rule, []).Aggregator.AggregateAsync(round, sink).GetAwaiter().GetResult();
    }

    private static double[] Product(MemoryModel model, double scaling) => Product(
        model.ToArray<double>(LoraClient.Module + ".lora_A.weight"), model.ToArray<double>(LoraClient.Module + ".lora_B.weight"), scaling);

    private static double[] Product(LoraResult result, double scaling) => Product(result.A, result.B, scaling);

    private static double[] Product(double[] a, double[] b, double scaling) =>
    [
        .. from o in Enumerable.Range(0, 3)
           from i in Enumerable.Range(0, 4)
           select scaling * Enumerable.Range(0, b.Length / 3).Sum(r => b[o * (b.Length / 3) + r] * a[r * 4 + i]),
    ];
}
