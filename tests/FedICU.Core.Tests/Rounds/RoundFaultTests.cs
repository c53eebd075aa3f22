namespace FedICU.Tests;

/// <summary>Every fault of an update: its sentence, its policies, and no output where the round is refused.</summary>
internal sealed class RoundFaultTests
{
    private static readonly MemoryModel Global = new() { { "a", [2], new float[] { 1, 2 } }, { "b", [2, 2], new float[] { 1, 2, 3, 4 } } };

    private static readonly ClientUpdate Good = ClientUpdate.FromTensors("good", Model([3, 4], [5, 6, 7, 8]), 1);

    private static readonly ClientUpdate AlsoGood = ClientUpdate.FromTensors("fine", Model([5, 6], [7, 8, 9, 10]), 1);

    private static MemoryModel Model(float[] a, float[] b) => new() { { "a", [2], a }, { "b", [2, 2], b } };

    private static IEnumerable<TestCaseData> Faults()
    {
        static ClientUpdate Bad(MemoryModel model, string? digest = null) => ClientUpdate.FromTensors("bad", model, 1, baseDigest: digest);

        yield return Case(RoundFault.Missing, Bad(new() { { "a", [2], new float[] { 0, 0 } } }), "b",
            "Client 'bad': tensor 'b' is missing; F32 [2, 2] was expected.");
        yield return Case(RoundFault.Extra, Bad(new() { { "a", [2], new float[2] }, { "b", [2, 2], new float[4] }, { "c", [1], new float[1] } }), "c",
            "Client 'bad': tensor 'c' of F32 [1] is not in the global model.");
        yield return Case(RoundFault.Shape, Bad(new() { { "a", [2], new float[2] }, { "b", [4], new float[4] } }), "b",
            "Client 'bad': tensor 'b' has the shape [4]; [2, 2] was expected.");
        yield return Case(RoundFault.DType, Bad(new() { { "a", [2], new int[2] }, { "b", [2, 2], new float[4] } }), "a",
            "Client 'bad': tensor 'a' has the type I32; F32 was expected.");
        yield return Case(RoundFault.NonFinite, Bad(Model([0, float.NaN], [1, float.PositiveInfinity, float.NegativeInfinity, 1])), "a",
            "Client 'bad': tensor 'a' has 1 values that are NaN or infinite; finite values were expected.");
        yield return Case(RoundFault.Base, Bad(Model([0, 0], [0, 0, 0, 0]), "sha256:00"), null,
            $"Client 'bad' made its update against the model sha256:00; the round's global model is {ModelDigest.Compute(Global)}.");
        yield return Case(RoundFault.Unreadable, ClientUpdate.FromFile("bad", "no-such-file.safetensors", 1), null, "Client 'bad': 'no-such-file.safetensors' ");

        static TestCaseData Case(RoundFault fault, ClientUpdate bad, string? tensor, string sentence) =>
            new TestCaseData(fault, bad, tensor, sentence).SetArgDisplayNames(fault.ToString());
    }

    [TestCaseSource(nameof(Faults))]
    public void RejectedByDefault(RoundFault fault, ClientUpdate bad, string? tensor, string sentence)
    {
        foreach (IAggregator aggregator in new IAggregator[] { new FedAvgAggregator(), new FedIcuAggregator() })
        {
            RoundRejectedException refused = Assert.Throws<RoundRejectedException>(() => Models.Run(aggregator, Global, [Good, bad, AlsoGood]))!;
            Assert.That(refused.Message, Does.StartWith(sentence));
            Assert.That((refused.Fault, refused.ClientId, refused.Tensor), Is.EqualTo((fault, "bad", tensor)));
        }
    }

    [TestCaseSource(nameof(Faults))]
    public void DroppingTheClientEqualsARoundWithoutIt(RoundFault fault, ClientUpdate bad, string? tensor, string sentence)
    {
        RoundOptions options = Policy(fault, FaultPolicy.DropClient);
        // the default quorum is all clients
        Assert.That(() => Models.Run(new FedAvgAggregator(), Global, [Good, bad, AlsoGood], options),
            Throws.TypeOf<RoundRejectedException>().With.Message.StartsWith("2 of 3 clients remain; the quorum is 3").And.Message.Contains(sentence));
        foreach (IAggregator aggregator in new IAggregator[] { new FedAvgAggregator(), new FedIcuAggregator() })
        {
            (RoundReport report, MemorySink dropped) = Models.Run(aggregator, Global, [Good, bad, AlsoGood], options with { Quorum = 2 });
            (_, MemorySink without) = Models.Run(aggregator, Global, [Good, AlsoGood]);
            using (dropped)
            using (without)
                Assert.That(Models.AllBytes(dropped.Model), Is.EqualTo(Models.AllBytes(without.Model)));
            ClientReport left = report.Clients.Single(client => !client.Included);
            Assert.That(left.Id, Is.EqualTo("bad"));
            Assert.That(left.Reason, Does.StartWith(sentence));
            Assert.That(report.ToString(), Does.Contain("left out: " + left.Reason));
            Assert.That(RoundReport.FromJson(report.ToJson()).ToJson(), Is.EqualTo(report.ToJson()));
        }
    }

    [TestCaseSource(nameof(Faults))]
    public void DroppingTheTensorKeepsTheGlobalValue(RoundFault fault, ClientUpdate bad, string? tensor, string sentence)
    {
        RoundOptions options = Policy(fault, FaultPolicy.DropTensor);
        if (tensor is null)
        {
            Assert.That(() => Models.Run(new FedAvgAggregator(), Global, [Good, bad], options), Throws.TypeOf<InvalidOptionsException>().With.Message.Contains("drop-tensor"));
            return;
        }

        (RoundReport report, MemorySink sink) = Models.Run(new FedAvgAggregator(), Global, [Good, bad], options);
        using (sink)
        {
            Assert.That(sink.Model.Tensors, Is.EqualTo(Global.Tensors));
            if (fault == RoundFault.Extra)
                return;
            Assert.That(Models.Bytes(sink.Model, tensor), Is.EqualTo(Models.Bytes(Global, tensor)));
            Assert.That(report.Tensors.Single(found => found.Name == tensor).Reason, Does.StartWith(sentence));
            // the other tensor is aggregated, unless it has the fault too
            if (fault != RoundFault.NonFinite)
                Assert.That(Models.AllBytes(sink.Model), Is.Not.EqualTo(Models.AllBytes(Global)));
            else
                Assert.That(report.Tensors.Count(found => found.Rule == "kept"), Is.EqualTo(2));
        }
    }

    [Test]
    public void EveryClientBadIsOneSentence() => Assert.That(
        () => Models.Run(new FedAvgAggregator(), Global, [ClientUpdate.FromTensors("x", Model([float.NaN, 0], [0, 0, 0, 0]), 1)], new RoundOptions { OnNonFinite = FaultPolicy.DropClient, Quorum = 1 }),
        Throws.TypeOf<RoundRejectedException>().With.Message.StartsWith("No client remains in the round. Client 'x': tensor 'a' has 1 values"));

    [Test]
    public void NoClients() => Assert.That(
        () => Models.Run(new FedAvgAggregator(), Global, []), Throws.TypeOf<RoundRejectedException>().With.Message.EqualTo("The round has no clients; at least one was expected."));

    [Test]
    public void TwoClientsOfOneId() => Assert.That(
        () => Models.Run(new FedAvgAggregator(), Global, [Good, Good]), Throws.TypeOf<RoundRejectedException>().With.Message.EqualTo("Client 'good' was added twice; ids must be unique."));

    [TestCase(-1, "-1"), TestCase(double.NaN, "NaN"), TestCase(double.PositiveInfinity, "Infinity")]
    public void WrongWeights(double weight, string text) => Assert.That(
        () => Models.Run(new FedAvgAggregator(), Global, [ClientUpdate.FromTensors("x", Model([0, 0], [0, 0, 0, 0]), weight)]),
        Throws.TypeOf<RoundRejectedException>().With.Message.EqualTo($"Client 'x' has the weight {text}; a finite number of at least 0 was expected."));

    [Test]
    public void AWeightOfZeroLeavesTheClientOutEverywhere()
    {
        ClientUpdate nothing = ClientUpdate.FromTensors("nothing", Model([float.NaN, 9], [9, 9, 9, 9]), 0);
        (RoundReport report, MemorySink with) = Models.Run(new FedIcuAggregator(), Global, [Good, nothing, AlsoGood]);
        (_, MemorySink without) = Models.Run(new FedIcuAggregator(), Global, [Good, AlsoGood]);
        using (with)
        using (without)
            Assert.That(Models.AllBytes(with.Model), Is.EqualTo(Models.AllBytes(without.Model)));
        Assert.That(report.Clients.Single(client => !client.Included).Reason, Is.EqualTo("Client 'nothing' has the weight 0."));
    }

    [Test]
    public void WeightsComeFromTheMetadataOrAreOneAndSaidSo()
    {
        static ClientUpdate Stating(string id, string? examples, float value) => ClientUpdate.FromTensors(
            id, new MemoryModel(examples is null ? null : new Dictionary<string, string> { ["num_examples"] = examples }) { { "a", [1], new[] { value } } });
        MemoryModel global = new() { { "a", [1], new float[] { 0 } } };
        (RoundReport stated, MemorySink sink) = Models.Run(new FedAvgAggregator(), global, [Stating("x", "3", 4), Stating("y", "1", 8)]);
        using (sink)
            Assert.That(sink.Model.ToArray<float>("a"), Is.EqualTo(new float[] { 5 }));
        Assert.That(stated.Notes, Is.Empty);
        (RoundReport silent, MemorySink other) = Models.Run(new FedAvgAggregator(), global, [Stating("x", null, 4), Stating("y", null, 8)]);
        using (other)
            Assert.That(other.Model.ToArray<float>("a"), Is.EqualTo(new float[] { 6 }));
        Assert.That(silent.Notes, Has.One.Contains("every client weighs 1"));
        Assert.That(() => Models.Run(new FedAvgAggregator(), global, [Stating("x", "3", 4), Stating("y", null, 8)]),
            Throws.TypeOf<RoundRejectedException>().With.Message.StartsWith("Client 'y' states no num_examples where client 'x' does"));
        Assert.That(() => Models.Run(new FedAvgAggregator(), global, [Stating("x", "many", 4)]),
            Throws.TypeOf<RoundRejectedException>().With.Message.Contains("'num_examples' is 'many'"));
    }

    [Test]
    public void OverflowOfTheOutputsTypeIsNamed()
    {
        MemoryModel global = new() { { "a", [1], new Half[] { (Half)1 } } };
        ClientUpdate client = ClientUpdate.FromTensors("x", new MemoryModel { { "a", [1], new float[] { 1e5f } } }, 1);
        Assert.That(() => Models.Run(new FedAvgAggregator(), global, [client], new RoundOptions { OnNonFinite = FaultPolicy.DropClient, Quorum = 1 }),
            Throws.TypeOf<RoundRejectedException>().With.Message.EqualTo("Tensor 'a': 1 results are not finite, from finite inputs; they do not fit F16."));
    }

    [Test]
    public void FloatTypesMayDifferAndAreNoted()
    {
        MemoryModel global = new() { { "a", [1], new float[] { 0 } } };
        ClientUpdate[] clients =
        [
            ClientUpdate.FromTensors("x", new MemoryModel { { "a", [1], new Half[] { (Half)1 } } }, 1),
            ClientUpdate.FromTensors("y", new MemoryModel { { "a", [1], new double[] { 2 } } }, 1),
        ];
        (RoundReport report, MemorySink sink) = Models.Run(new FedAvgAggregator(), global, clients);
        using (sink)
            Assert.That(sink.Model.ToArray<float>("a"), Is.EqualTo(new[] { 1.5f }));
        Assert.That(report.Notes, Has.Count.EqualTo(2));
    }

    [Test]
    public void DeltasEqualFullUpdates()
    {
        MemoryModel global = Models.Random(1), local = Models.Random(2);
        var delta = new MemoryModel();
        foreach (TensorInfo tensor in global.Tensors)
        {
            double[] x = Models.ToDoubles(global, tensor.Name), y = Models.ToDoubles(local, tensor.Name);
            delta.Add<double>(tensor.Name, tensor.Shape.Dimensions, y.Zip(x, (to, from) => to - from).ToArray());
        }

        foreach (IAggregator aggregator in new IAggregator[] { new FedAvgAggregator(), new FedIcuAggregator(), new FedIcuAggregator(new FedIcuOptions { Target = SplitTarget.Delta }) })
        {
            ClientUpdate other = ClientUpdate.FromTensors("other", Models.Random(3), 2);
            (_, MemorySink full) = Models.Run(aggregator, global, [other, ClientUpdate.FromTensors("x", local, 1)]);
            (RoundReport report, MemorySink differences) = Models.Run(aggregator, global, [other, ClientUpdate.FromTensors("x", delta, 1, UpdateKind.Delta)]);
            using (full)
            using (differences)
                Assert.That(Models.AllBytes(differences.Model), Is.EqualTo(Models.AllBytes(full.Model)));
            Assert.That(report.Notes, Has.Some.Contains("does not state which model"));
        }
    }

    [Test]
    public void IntegersAreExactMeansAndExoticTypesAreKept()
    {
        long large = long.MaxValue - 1;
        static MemoryModel Of(long[] whole, sbyte[] small, bool flag) => new() { { "i", [3], whole }, { "s", [2], small }, { "f", [1], new[] { flag } } };
        MemoryModel global = Of([0, 0, 0], [0, 0], true);
        ClientUpdate[] clients =
        [
            ClientUpdate.FromTensors("x", Of([1, large, -3], [-128, 127], false), 1),
            ClientUpdate.FromTensors("y", Of([2, large + 1, -4], [-127, 126], false), 1),
        ];
        (_, MemorySink sink) = Models.Run(new FedIcuAggregator(), global, clients);
        using (sink)
        {
            // halves to even: 1.5 -> 2, max - 1/2 -> max - 1 which is even, -3.5 -> -4, -127.5 -> -128, 126.5 -> 126
            Assert.That(sink.Model.ToArray<long>("i"), Is.EqualTo(new[] { 2, large, -4 }));
            Assert.That(sink.Model.ToArray<sbyte>("s"), Is.EqualTo(new sbyte[] { -128, 126 }));
            Assert.That(sink.Model.ToArray<bool>("f"), Is.EqualTo(new[] { true }));
        }

        (_, MemorySink kept) = Models.Run(new FedAvgAggregator(), global, clients, new RoundOptions { Integers = IntegerRule.Keep });
        using (kept)
            Assert.That(Models.AllBytes(kept.Model), Is.EqualTo(Models.AllBytes(global)));
    }

    [TestCase(0.1, 0.2), TestCase(1e-300, 1e300), TestCase(1 / 3.0, 7)]
    public void IntegerMeansTakeAnyWeights(double first, double second)
    {
        var mean = new IntegerMean([first, second]);
        foreach ((long x, long y) in new[] { (1L, 2L), (-5, 9), (long.MaxValue, long.MinValue), (7, 7) })
        {
            System.Numerics.BigInteger a = Exact(first), b = Exact(second), numerator = a * x + b * y, total = a + b;
            // round half to even by hand
            System.Numerics.BigInteger twice = 2 * numerator + total, down = System.Numerics.BigInteger.DivRem(twice, 2 * total, out System.Numerics.BigInteger rest);
            if (rest < 0)
                (down, rest) = (down - 1, rest + 2 * total);
            if (rest.IsZero && !down.IsEven)
                down--;
            Assert.That(mean.Of([x, y]), Is.EqualTo((Int128)down));
        }

        // value * 2^1126: whole, as no double has a bit below 2^-1074 and 52 more make room for a subnormal's
        static System.Numerics.BigInteger Exact(double value) =>
            (System.Numerics.BigInteger)Math.ScaleB(value, 52 - Math.ILogB(value)) << Math.ILogB(value) - 52 + 1126;
    }

    [Test]
    public void CancellationAndProgress()
    {
        var round = new AggregationRound(Global) { Options = new RoundOptions { Progress = new Collected() } };
        round.Add(Good);
        using var cancelled = new CancellationTokenSource();
        using var sink = new MemorySink();
        new FedAvgAggregator().AggregateAsync(round, sink).GetAwaiter().GetResult();
        Assert.That(((Collected)round.Options.Progress).Seen.Select(step => (step.Tensor, step.BytesDone)), Is.EqualTo(new[] { ("a", 8L), ("b", 24L) }));

        var cancelling = new AggregationRound(Global) { Options = new RoundOptions { Progress = new Cancelling(cancelled) } };
        cancelling.Add(Good);
        using var untouched = new MemorySink();
        Assert.That(async () => await new FedAvgAggregator().AggregateAsync(cancelling, untouched, cancelled.Token), Throws.InstanceOf<OperationCanceledException>());
        Assert.That(() => untouched.Model, Throws.InvalidOperationException);
    }

    [Test]
    public void EveryLookOfThePreparationBeginsAnew()
    {
        var progress = new Collected();
        Models.Run(new FedIcuAggregator(new FedIcuOptions { Granularity = Granularity.Model }), Global, [Good, AlsoGood], new RoundOptions { Progress = progress }).Sink.Dispose();
        Assert.That(progress.Seen.Select(step => (step.Phase, step.BytesDone)), Is.EqualTo(new[]
        {
            ("prepare", 8L), ("prepare", 24L), ("prepare", 8L), ("prepare", 24L), ("aggregate", 8L), ("aggregate", 24L),
        }));
        Assert.That(progress.Seen.Select(step => step.BytesTotal), Is.All.EqualTo(24));
    }

    [Test]
    public void ADroppedTensorTellsWhoseValuesAreNotFinite()
    {
        ClientUpdate bad = ClientUpdate.FromTensors("bad", Model([0, 0], [1, float.PositiveInfinity, float.NegativeInfinity, 1]), 1);
        (RoundReport report, MemorySink sink) = Models.Run(new FedIcuAggregator(), Global, [Good, bad], new RoundOptions { OnNonFinite = FaultPolicy.DropTensor });
        sink.Dispose();
        Assert.That(report.Tensors[1].Rule, Is.EqualTo("kept"));
        Assert.That(report.Tensors[1].Clients.Select(client => (client.Id, client.NonFinite)), Is.EqualTo(new[] { ("bad", 2L), ("good", 0L) }));
        Assert.That(report.ToJson(), Does.Contain("\"dtype\": \"F32\"").And.Contain("\"non_finite\": 2"));
    }

    [Test]
    public void TheOutputDoesNotKeepTheRoundOfTheGlobalModel([Values] bool numbered)
    {
        using var global = new MemoryModel(new Dictionary<string, string> { [MetadataKeys.Round] = "3", ["format"] = "pt" }) { { "w", [1], new float[] { 1 } } };
        (_, MemorySink sink) = Models.Run(new FedAvgAggregator(), global, [ClientUpdate.FromTensors("a", global, 1)], new RoundOptions { Round = numbered ? 7 : null });
        using (sink)
        {
            Assert.That(sink.Model.Metadata.GetValueOrDefault(MetadataKeys.Round), Is.EqualTo(numbered ? "7" : null));
            Assert.That(sink.Model.Metadata["format"], Is.EqualTo("pt"));
        }
    }

    [Test]
    public void StatisticsHaveTheirValues()
    {
        MemoryModel global = new() { { "w", [2], new float[] { 1, 1 } } };
        ClientUpdate[] clients =
        [
            ClientUpdate.FromTensors("x", new MemoryModel { { "w", [2], new float[] { 4, 5 } } }, 1),
            ClientUpdate.FromTensors("y", new MemoryModel { { "w", [2], new float[] { 1, 1 } } }, 1),
        ];
        (RoundReport report, MemorySink sink) = Models.Run(new FedAvgAggregator(), global, clients, new RoundOptions { Statistics = true });
        sink.Dispose();
        TensorClientReport x = report.Tensors[0].Clients[0], y = report.Tensors[0].Clients[1];
        Assert.That((x.Norm, x.UpdateNorm, x.Cosine, x.Weight), Is.EqualTo((Math.Sqrt(41), 5.0, 1.0, 0.5)));
        Assert.That((y.Norm, y.UpdateNorm, y.Cosine), Is.EqualTo((Math.Sqrt(2), 0.0, 0.0)));
    }

    [Test]
    public void NumbersThatAreNotFiniteAreNullInJson()
    {
        MemoryModel global = Models.Of64("w", [2], 1e200, -1e200);
        (RoundReport report, MemorySink sink) = Models.Run(new FedAvgAggregator(), global, [ClientUpdate.FromTensors("x", global, 3)], new RoundOptions { Statistics = true });
        sink.Dispose();
        report = report with { LoraPairs = [new LoraPairReport("m", double.NaN)] };
        Assert.That(report.Tensors[0].Clients[0].Norm, Is.EqualTo(double.PositiveInfinity));
        var read = RoundReport.FromJson(report.ToJson());
        Assert.That(report.ToJson(), Does.Contain("\"norm\": null").And.Contain("\"cross_term\": null").And.Contain("\"weight\": 3"));
        Assert.That(read.Tensors[0].Clients[0].Norm, Is.Null);
        Assert.That(read.LoraPairs[0].CrossTerm, Is.NaN);
        Assert.That((read.Clients[0].Weight, read.Clients[0].Share), Is.EqualTo((3.0, 1.0)));
    }

    [Test]
    public void TheReportCountsInWords() => Assert.That(
        new RoundReport { Strategy = "s", Backend = "b", Clients = [], Tensors = [new TensorReport { Name = "w", DType = "F32", Shape = [1], Rule = "s" }] }.ToString(),
        Is.EqualTo("s: 0 of 0 clients, 1 tensor, backend b"));

    [Test]
    public void TheCrossTermOfLoraFactors()
    {
        static MemoryModel Pair(float[] a, float[] b) => new() { { "m.lora_A.weight", [1, 2], a }, { "m.lora_B.weight", [2, 1], b } };
        ClientUpdate[] clients =
        [
            ClientUpdate.FromTensors("x", Pair([1, 0], [1, 0]), 1),
            ClientUpdate.FromTensors("y", Pair([0, 1], [0, 1]), 1),
        ];
        (RoundReport report, MemorySink sink) = Models.Run(new FedAvgAggregator(), Pair([0, 0], [0, 0]), clients, new RoundOptions { Statistics = true });
        sink.Dispose();
        // mean(BA) = diag(1, 1)/2 and mean(B) mean(A) = ones/4: their difference has the norm 1/2, mean(BA) the norm sqrt(1/2)
        Assert.That(report.LoraPairs.Single().Name, Is.EqualTo("m"));
        Assert.That(report.LoraPairs.Single().CrossTerm, Is.EqualTo(Math.Sqrt(0.5)).Within(1e-15));
    }

    private static RoundOptions Policy(RoundFault fault, FaultPolicy policy) => fault switch
    {
        RoundFault.Missing => new() { OnMissing = policy },
        RoundFault.Extra => new() { OnExtra = policy },
        RoundFault.Shape => new() { OnShape = policy },
        RoundFault.DType => new() { OnDType = policy },
        RoundFault.NonFinite => new() { OnNonFinite = policy },
        RoundFault.Base => new() { OnBase = policy },
        _ => new() { OnUnreadable = policy },
    };

    private sealed class Collected : IProgress<RoundProgress>
    {
        public List<RoundProgress> Seen { get; } = [];

        public void Report(RoundProgress value) => Seen.Add(value);
    }

    private sealed class Cancelling(CancellationTokenSource source) : IProgress<RoundProgress>
    {
        public void Report(RoundProgress value) => source.Cancel();
    }
}
