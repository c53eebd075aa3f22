using MyFederation;

namespace FedICU.Tests.Docs;

/// <summary>
/// Runs the stages of docs/writing-an-aggregator.md. Their results are right, and bad input ends in the same sentences
/// as with the library's own strategies.
/// </summary>
internal sealed class OwnStageTests : SnippetFixture
{
    [Test]
    public async Task TheRuleOfTheDocumentRuns()
    {
        PutRound();
        using TensorSource global = TensorSource.Open("global.safetensors");

        #region run-own-rule
        IAggregator server = new AggregatorBuilder()
            .Weigh(new NormLimit(limit: 1))
            .Merge(new AgreeingMean())
            .Then(new ServerMomentum(beta: 0.9))
            .Build();
        var round = new AggregationRound(global) { State = RoundState.InFile("server.state.safetensors") };
        round.Add(ClientUpdate.FromFile("a", "a.safetensors"));
        round.Add(ClientUpdate.FromFile("b", "b.safetensors"));
        round.Add(ClientUpdate.FromFile("c", "c.safetensors"));
        AggregationResult result = await server.AggregateAsync(round, TensorSink.ToFile("next.safetensors"));
        #endregion

        // updates (1, 0, 0, 0), (0, 1, 1, 0) of norm 1.41 and (-2, 0, 0, 1) of norm 2.24; where one client disagrees it
        // is left out
        double half = 1 / Math.Sqrt(2), fifth = 1 / Math.Sqrt(5);
        Assert.That(ValuesOf("next.safetensors"), Is.EqualTo(new[] { 2, half, half, 2 + fifth }).Within(1e-6));
        Assert.That(result.Report.Strategy, Is.EqualTo("norm-limit,agreeing-mean,server-momentum"));
        Assert.That(result.Report.Stages.Single().Values, Is.EqualTo(new[] { 1, half, fifth }).Within(1e-15));
        using TensorSource state = TensorSource.Open("server.state.safetensors");
        Assert.That(Models.ToDoubles(state, "layer.weight#m"), Is.EqualTo(new[] { 1, half, half, fifth }).Within(1e-7));
    }

    [Test]
    public async Task AStatisticOfOnesOwnMeasuresSomeTensors()
    {
        PutRound();
        using TensorSource global = TensorSource.Open("global.safetensors");
        var round = new AggregationRound(global) { ClientUpdate.FromFile("c", "c.safetensors") };

        #region run-part-norms
        IAggregator server = new AggregatorBuilder().Weigh(new NormLimit(1, new PartNorms("layer."))).Build();
        #endregion

        await server.AggregateAsync(round, TensorSink.ToFile("next.safetensors"));
        Assert.That(
            ValuesOf("next.safetensors"),
            Is.EqualTo(new[] { 1 - 2 / Math.Sqrt(5), 0, 0, 2 + 1 / Math.Sqrt(5) }).Within(1e-6));
        // tensors of other names have no part: nothing is limited
        server = new AggregatorBuilder().Weigh(new NormLimit(1, new PartNorms("head."))).Build();
        await server.AggregateAsync(round, TensorSink.ToFile("next.safetensors"));
        Assert.That(ValuesOf("next.safetensors"), Is.EqualTo(new double[] { -1, 0, 0, 3 }));
    }

    [Test]
    public async Task TheStagesAreFoundByName()
    {
        PutRound();
        using TensorSource global = TensorSource.Open("global.safetensors");
        var updates = new[] { "a", "b", "c" }.Select(id => ClientUpdate.FromFile(id, $"{id}.safetensors"));

        #region run-by-name
        var registry = new StrategyRegistry();
        MyStrategies.AddTo(registry);
        ConfiguredRound configured = registry.Create(
            "norm-limit,median,server-momentum",
            new Dictionary<string, string> { ["norm-limit.limit"] = "2", ["beta"] = "0.5", ["on-nonfinite"] = "drop-client" });
        var round = new AggregationRound(global, configured.Options);
        #endregion

        foreach (ClientUpdate update in updates)
            round.Add(update);
        await configured.Aggregator.AggregateAsync(round, TensorSink.ToFile("next.safetensors"));
        Assert.That(ValuesOf("next.safetensors"), Is.EqualTo(new double[] { 1, 0, 0, 2 }));
        Assert.That(configured.Options.OnNonFinite, Is.EqualTo(FaultPolicy.DropClient));
        Assert.That(
            () => registry.Create("norm-limit", [new("limit", "-1")]),
            Throws.TypeOf<InvalidOptionsException>().With.Message.EqualTo("limit is -1; a finite number above 0 was expected."));
        Assert.That(
            () => MyStrategies.AddTo(registry),
            Throws.TypeOf<ArgumentException>().With.Message.StartsWith("The strategy 'norm-limit' is registered already."));
        Assert.That(StrategyRegistry.Default.Find("norm-limit"), Is.Null, "another registry");
    }

    #region limit-tests
    [Test]
    public async Task ALongUpdateIsLimitedAndAShortOneIsNot()
    {
        var round = new AggregationRound(Model(0, 0))
        {
            ClientUpdate.FromTensors("b", Model(30, 40)),
            ClientUpdate.FromTensors("a", Model(3, 4)),
        };
        using var next = new MemorySink();
        AggregationResult result = await new StageAggregator(new NormLimit(10)).AggregateAsync(round, next);
        Assert.That(result.Report.Stages[0].Values, Is.EqualTo(new[] { 1, 0.2 }));
        // the mean of (3, 4) and 0.2 (30, 40)
        Assert.That(next.Model.ToArray<float>("w"), Is.EqualTo(new float[] { 4.5f, 6 }));
    }

    private static MemoryModel Model(params float[] values) => new() { { "w", [values.Length], values } };
    #endregion

    #region mean-tests
    [Test]
    public async Task AClientThatDisagreesIsLeftOut([Values(1, 2, 7)] int threads)
    {
        var round = new AggregationRound(Model(10, 10), new RoundOptions { Threads = threads })
        {
            ClientUpdate.FromTensors("c", Model(9, 11), examples: 1),
            ClientUpdate.FromTensors("b", Model(14, 12), examples: 1),
            ClientUpdate.FromTensors("a", Model(12, 7), examples: 3),
        };
        using var next = new MemorySink();
        await new StageAggregator(new AgreeingMean()).AggregateAsync(round, next);
        // updates (2, -3) of weight 3, (4, 2) and (-1, 1)
        Assert.That(next.Model.ToArray<float>("w"), Is.EqualTo(new float[] { 12.5f, 7 }));
    }

    [Test]
    public void ANaNIsRefusedWithTheClientsName()
    {
        var round = new AggregationRound(Model(0, 0))
        {
            ClientUpdate.FromTensors("a", Model(1, float.NaN)),
            ClientUpdate.FromTensors("b", Model(2, 6)),
        };
        using var next = new MemorySink();
        Assert.That(
            async () => await new StageAggregator(new AgreeingMean()).AggregateAsync(round, next),
            Throws.TypeOf<RoundRejectedException>()
                .With.Message.StartsWith("Client 'a': tensor 'w' has 1 value that is NaN or infinite"));
    }
    #endregion

    #region momentum-tests
    [Test]
    public async Task TheSecondRoundContinuesWithTheMomentumOfTheFirst()
    {
        using var state = RoundState.InMemory();
        using MemorySink first = new(), second = new();
        var server = new StageAggregator(new ServerMomentum(0.5));
        await server.AggregateAsync(Round(Model(0), Model(4)), first);
        // m = 4, then m = 0.5 * 4 + (3 - 4) = 1
        await server.AggregateAsync(Round(first.Model, Model(3)), second);
        Assert.That(second.Model.ToArray<float>("w"), Is.EqualTo(new float[] { 5 }));

        AggregationRound Round(TensorSource global, MemoryModel client)
        {
            var round = new AggregationRound(global) { State = state };
            round.Add(ClientUpdate.FromTensors("a", client));
            return round;
        }
    }
    #endregion

    [Test]
    public void TheAgreeingMeanIsTheSameForAnyTypeOrderAndNumberOfThreads(
        [Values(1, 2, 3, 6, 7)] int clients, [Values(DType.F32, DType.BF16)] DType dtype)
    {
        const int Rows = 61, Columns = 1003;
        (TensorInfo Info, byte[] Bytes) start = Tensor(0, dtype);
        (TensorInfo Info, byte[] Bytes)[] inputs = [.. Enumerable.Range(0, clients).Select(k => Tensor(k + 1, dtype))];
        double[] before = Models.ToDoubles(start.Bytes, start.Info);
        double[][] values = [.. inputs.Select(input => Models.ToDoubles(input.Bytes, input.Info))];
        byte[] expected = Models.Tensor("w", dtype, [Rows, Columns], i =>
        {
            double[] updates = [.. values.Select(value => value[i] - before[i])];
            bool isUp = updates.Select((update, k) => (1 + k) * update).Sum() >= 0;
            int[] agreeing = [.. Enumerable.Range(0, clients).Where(k => updates[k] != 0 && updates[k] > 0 == isUp)];
            return before[i] + (agreeing.Length == 0 ? 0 : agreeing.Sum(k => (1 + k) * updates[k]) / agreeing.Sum(k => 1 + k));
        }).Bytes;
        foreach (int threads in (int[])[1, 2, 7])
        {
            int[] order = [.. Enumerable.Range(0, clients)];
            new Random(threads).Shuffle(order);
            ClientUpdate[] updates = [.. order.Select(k => ClientUpdate.FromTensors($"client-{k}", Model(inputs[k]), 1 + k))];
            var aggregator = new StageAggregator(new AgreeingMean());
            (_, MemorySink sink) = Models.Run(aggregator, Model(start), updates, new RoundOptions { Threads = threads });
            using (sink)
                Assert.That(Models.Bytes(sink.Model, "w").AsSpan().SequenceEqual(expected), $"{threads} threads");
        }

        static (TensorInfo Info, byte[] Bytes) Tensor(int seed, DType dtype)
        {
            var random = new Random(seed);
            return Models.Tensor("w", dtype, [Rows, Columns], _ => random.NextDouble() - 0.5);
        }

        static MemoryModel Model((TensorInfo Info, byte[] Bytes) tensor) => new() { { tensor.Info, tensor.Bytes } };
    }

    [Test]
    public void DeltasGiveTheSameModelAsParameters()
    {
        MemoryModel global = Models.Of("w", [3], 1, 2, 3);
        MemoryModel[] deltas = [Models.Of("w", [3], 1, -1, 4), Models.Of("w", [3], 2, 0, 5), Models.Of("w", [3], -7, 9, 6)];
        IEnumerable<ClientUpdate> updates =
            deltas.Select((delta, k) => ClientUpdate.FromTensors($"client-{k}", delta, 1, UpdateKind.Delta));
        (_, MemorySink sink) = Models.Run(new StageAggregator(new AgreeingMean()), global, updates);
        using (sink)
            Assert.That(sink.Model.ToArray<float>("w"), Is.EqualTo(new float[] { -6, 11, 8 }));
    }

    [Test]
    public void BadInputEndsInTheUsualSentence()
    {
        MemoryModel global = Models.Of("w", [2], 1, 2);
        foreach (Stage stage in (Stage[])[new NormLimit(1), new AgreeingMean(), new ServerMomentum(0.9), new FedAvg()])
        {
            Refused(RoundFault.Shape, Models.Of("w", [1, 2], 1, 2), "Client 'b': tensor 'w' has the shape [1, 2]; [2] was expected.");
            Refused(RoundFault.Missing, Models.Of("v", [2], 1, 2), "Client 'b': tensor 'w' is missing; F32 [2] was expected.");
            const string NonFinite = "Client 'b': tensor 'w' has 1 value that is NaN or infinite; finite values were expected.";
            Refused(RoundFault.NonFinite, Models.Of("w", [2], float.NaN, 2), NonFinite);
            Refused(RoundFault.NonFinite, Models.Of("w", [2], 1, float.PositiveInfinity), NonFinite);

            void Refused(RoundFault fault, MemoryModel update, string sentence)
            {
                ClientUpdate[] updates =
                [
                    ClientUpdate.FromTensors("a", global),
                    ClientUpdate.FromTensors("b", update),
                    ClientUpdate.FromTensors("c", global),
                ];
                RoundRejectedException refusal = Assert.Throws<RoundRejectedException>(
                    () => Models.Run(new StageAggregator(stage), global, updates), stage.Name)!;
                Assert.That((refusal.Fault, refusal.Message), Is.EqualTo((fault, sentence)), stage.Name);
            }
        }
    }

    [Test]
    public void ADroppedClientCountsInNoStage()
    {
        MemoryModel global = Models.Of("w", [1], 0f);
        float[] values = [1, 2, float.NaN, 4];
        ClientUpdate[] updates = [.. values.Select((value, k) => ClientUpdate.FromTensors($"client-{k}", Models.Of("w", [1], value)))];
        var aggregator = new StageAggregator(new NormLimit(2), new AgreeingMean());
        (RoundReport report, MemorySink sink) = Models.Run(
            aggregator, global, updates, new RoundOptions { OnNonFinite = FaultPolicy.DropClient, Quorum = 3 });
        using (sink)
            Assert.That(sink.Model.ToArray<float>("w"), Is.EqualTo(new float[] { 5f / 3 }));
        Assert.That(report.Clients.Where(client => !client.Included).Select(client => client.Id), Is.EqualTo(new[] { "client-2" }));
        Assert.That(report.Stages.Single().Clients, Is.EqualTo(new[] { "client-0", "client-1", "client-3" }));
    }
}
