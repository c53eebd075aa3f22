using MyFederation;

namespace FedICU.Tests.Docs;

/// <summary>
/// Runs the strategies of docs/writing-an-aggregator.md. Their results are right, and bad input ends in the same
/// sentences as with the library's own strategies.
/// </summary>
internal sealed class OwnAggregatorTests : SnippetFixture
{
    [Test]
    public async Task TheMedianOfTheDocumentRuns()
    {
        PutRound();
        using TensorSource global = TensorSource.Open("global.safetensors");

        #region run-median
        var round = new AggregationRound(global)
        {
            ClientUpdate.FromFile("a", "a.safetensors"),
            ClientUpdate.FromFile("b", "b.safetensors"),
            ClientUpdate.FromFile("c", "c.safetensors"),
        };
        await new MedianAggregator().AggregateAsync(round, TensorSink.ToFile("median.safetensors"));
        #endregion

        Assert.That(ValuesOf("median.safetensors"), Is.EqualTo(new double[] { 1, 0, 0, 2 }));
    }

    [Test]
    public async Task LateClientsCountLess()
    {
        PutRound();
        using TensorSource global = TensorSource.Open("global.safetensors");

        #region run-staleness
        var behind = new Dictionary<string, int> { ["a"] = 0, ["b"] = 3 };
        var round = new AggregationRound(global)
        {
            ClientUpdate.FromFile("a", "a.safetensors", examples: 100),
            ClientUpdate.FromFile("b", "b.safetensors", examples: 1200),
        };
        var aggregator = new StalenessAggregator(client => behind[client]);
        AggregationResult result = await aggregator.AggregateAsync(round, TensorSink.ToFile("next.safetensors"));
        #endregion

        // the weights are 100 and 1200 / 4: shares of a quarter and three quarters
        Assert.That(ValuesOf("next.safetensors"), Is.EqualTo(new[] { 1.25, .75, .75, 2 }));
        Assert.That(result.Report.Tensors[0].Clients.Select(client => client.Weight), Is.EqualTo(new[] { .25, .75 }));
    }

    #region median-tests
    [Test]
    public async Task AnOutlierDoesNotMoveTheMedian([Values(1, 2)] int threads)
    {
        var round = new AggregationRound(Model(0, 0), new RoundOptions { Threads = threads })
        {
            ClientUpdate.FromTensors("c", Model(900, -900)),
            ClientUpdate.FromTensors("b", Model(2, 6)),
            ClientUpdate.FromTensors("a", Model(1, 5)),
        };
        using var next = new MemorySink();
        await new MedianAggregator().AggregateAsync(round, next);
        Assert.That(next.Model.ToArray<float>("w"), Is.EqualTo(new float[] { 2, 5 }));
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
            async () => await new MedianAggregator().AggregateAsync(round, next),
            Throws.TypeOf<RoundRejectedException>().With.Message.StartsWith("Client 'a': tensor 'w' has 1 value that is NaN or infinite"));
    }

    private static MemoryModel Model(params float[] values) => new() { { "w", [values.Length], values } };
    #endregion

    [Test]
    public void TheMedianIsTheMiddleOfTheSortedValues(
        [Values(1, 2, 3, 6, 7)] int clients, [Values(DType.F32, DType.BF16)] DType dtype)
    {
        const int Rows = 61, Columns = 1003;
        (TensorInfo Info, byte[] Bytes)[] inputs = [.. Enumerable.Range(0, clients).Select(k => Tensor(k + 1, dtype))];
        double[][] values = [.. inputs.Select(input => Models.ToDoubles(input.Bytes, input.Info))];
        byte[] expected = Models.Tensor("w", dtype, [Rows, Columns], i =>
        {
            double[] sorted = [.. values.Select(value => value[i]).Order()];
            return clients % 2 == 1 ? sorted[clients / 2] : (sorted[clients / 2 - 1] + sorted[clients / 2]) / 2;
        }).Bytes;
        MemoryModel global = Model(Tensor(0, dtype));
        foreach (int threads in (int[])[1, 2, 7])
        {
            int[] order = [.. Enumerable.Range(0, clients)];
            new Random(threads).Shuffle(order);
            ClientUpdate[] updates = [.. order.Select(k => ClientUpdate.FromTensors($"client-{k}", Model(inputs[k]), 1 + k))];
            (_, MemorySink sink) = Models.Run(new MedianAggregator(), global, updates, new RoundOptions { Threads = threads });
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
    public void DeltasGiveTheMedianOfTheParameters()
    {
        MemoryModel global = Models.Of("w", [3], 1, 2, 3);
        MemoryModel[] deltas = [Models.Of("w", [3], 1, -1, 4), Models.Of("w", [3], 2, 0, 5), Models.Of("w", [3], -7, 9, 6)];
        IEnumerable<ClientUpdate> updates =
            deltas.Select((delta, k) => ClientUpdate.FromTensors($"client-{k}", delta, 1, UpdateKind.Delta));
        (_, MemorySink sink) = Models.Run(new MedianAggregator(), global, updates);
        using (sink)
            Assert.That(sink.Model.ToArray<float>("w"), Is.EqualTo(new float[] { 2, 2, 8 }));
    }

    [Test]
    public void BadInputEndsInTheUsualSentence()
    {
        MemoryModel global = Models.Of("w", [2], 1, 2);
        foreach (IAggregator aggregator in (IAggregator[])[new MedianAggregator(), new StalenessAggregator(_ => 0), new FedAvgAggregator()])
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
                RoundRejectedException refusal =
                    Assert.Throws<RoundRejectedException>(() => Models.Run(aggregator, global, updates), aggregator.Name)!;
                Assert.That((refusal.Fault, refusal.Message), Is.EqualTo((fault, sentence)), aggregator.Name);
            }
        }
    }

    [Test]
    public void ADroppedClientDoesNotCountInTheMedian()
    {
        MemoryModel global = Models.Of("w", [1], 0f);
        float[] values = [1, 2, float.NaN, 4];
        ClientUpdate[] updates = [.. values.Select((value, k) => ClientUpdate.FromTensors($"client-{k}", Models.Of("w", [1], value)))];
        (RoundReport report, MemorySink sink) = Models.Run(
            new MedianAggregator(), global, updates, new RoundOptions { OnNonFinite = FaultPolicy.DropClient, Quorum = 3 });
        using (sink)
            Assert.That(sink.Model.ToArray<float>("w"), Is.EqualTo(new float[] { 2 }));
        Assert.That(report.Clients.Where(client => !client.Included).Select(client => client.Id), Is.EqualTo(new[] { "client-2" }));
    }
}
