using FedICU.Tests.Files;
using static FedICU.Tests.TwoTensorRound;

namespace FedICU.Tests;

/// <summary>Every fault of an update: its sentence, its policies, and no output if the round is refused.</summary>
internal sealed class RoundFaultTests
{
    private static IEnumerable<TestCaseData> Faults()
    {
        static ClientUpdate Bad(MemoryModel model, string? digest = null) => ClientUpdate.FromTensors("bad", model, 1, baseDigest: digest);

        yield return Case(RoundFault.Missing, Bad(new() { { "a", [2], new float[] { 0, 0 } } }), "b",
            "Client 'bad': tensor 'b' is missing; F32 [2, 2] was expected.");
        yield return Case(RoundFault.Extra,
            Bad(new() { { "a", [2], new float[2] }, { "b", [2, 2], new float[4] }, { "c", [1], new float[1] } }), "c",
            "Client 'bad': tensor 'c' of F32 [1] is not in the global model.");
        yield return Case(RoundFault.Shape, Bad(new() { { "a", [2], new float[2] }, { "b", [4], new float[4] } }), "b",
            "Client 'bad': tensor 'b' has the shape [4]; [2, 2] was expected.");
        yield return Case(RoundFault.DType, Bad(new() { { "a", [2], new int[2] }, { "b", [2, 2], new float[4] } }), "a",
            "Client 'bad': tensor 'a' has the type I32; a float type (F64, F32, F16 or BF16) was expected.");
        yield return Case(RoundFault.NonFinite, Bad(ModelOf([0, float.NaN], [1, float.PositiveInfinity, float.NegativeInfinity, 1])), "a",
            "Client 'bad': tensor 'a' has 1 value that is NaN or infinite; finite values were expected.");
        yield return Case(RoundFault.Base, Bad(ModelOf([0, 0], [0, 0, 0, 0]), "sha256:00"), null,
            $"Client 'bad' made its update against the model sha256:00; the round's global model is {ModelDigest.Compute(Global)}.");
        yield return Case(RoundFault.Unreadable, ClientUpdate.FromFile("bad", "no-such-file.safetensors", 1), null,
            "Client 'bad': 'no-such-file.safetensors' ");

        static TestCaseData Case(RoundFault fault, ClientUpdate bad, string? tensor, string sentence) =>
            new TestCaseData(fault, bad, tensor, sentence).SetArgDisplayNames(fault.ToString());
    }

    [TestCaseSource(nameof(Faults))]
    public void AFaultIsRejectedByDefault(RoundFault fault, ClientUpdate bad, string? tensor, string sentence)
    {
        foreach (IAggregator aggregator in new IAggregator[] { new FedAvgAggregator(), new FedIcuAggregator() })
        {
            RoundRejectedException refused =
                Assert.Throws<RoundRejectedException>(() => Models.Run(aggregator, Global, [Good, bad, AlsoGood]))!;
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
            Throws.TypeOf<RoundRejectedException>().With.Message.StartsWith("2 of 3 clients remain; the quorum is 3").And.Message.Contains(
                sentence));
        foreach (IAggregator aggregator in new IAggregator[] { new FedAvgAggregator(), new FedIcuAggregator() })
        {
            (RoundReport report, MemorySink dropped) = Models.Run(aggregator, Global, [Good, bad, AlsoGood], options with { Quorum = 2 });
            (_, MemorySink without) = Models.Run(aggregator, Global, [Good, AlsoGood]);
            Models.AssertSameBits(dropped, without);
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
            Assert.That(() => Models.Run(new FedAvgAggregator(), Global, [Good, bad], options),
                Throws.TypeOf<InvalidOptionsException>().With.Message.Contains("drop-tensor"));
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
            // the other tensor is aggregated unless it has the fault too
            if (fault != RoundFault.NonFinite)
                Assert.That(Models.AllBytes(sink.Model), Is.Not.EqualTo(Models.AllBytes(Global)));
            else
                Assert.That(report.Tensors.Count(found => found.Rule == "kept"), Is.EqualTo(2));
        }
    }

    [Test]
    public void ARoundOfBadClientsOnlyIsRefused() => Assert.That(
        () => Models.Run(new FedAvgAggregator(), Global, [ClientUpdate.FromTensors("x", ModelOf([float.NaN, 0], [0, 0, 0, 0]), 1)],
            new RoundOptions { OnNonFinite = FaultPolicy.DropClient, Quorum = 1 }),
        Throws.TypeOf<RoundRejectedException>().With.Message.StartsWith(
            "No client remains in the round. Client 'x': tensor 'a' has 1 value"));

    [Test]
    public void ARoundWithoutClientsIsRefused() => Assert.That(
        () => Models.Run(new FedAvgAggregator(), Global, []),
        Throws.TypeOf<RoundRejectedException>().With.Message.EqualTo("The round has no clients; at least one was expected."));

    [Test]
    public void TwoClientsWithOneIdAreRefused() => Assert.That(
        () => Models.Run(new FedAvgAggregator(), Global, [Good, Good]),
        Throws.TypeOf<RoundRejectedException>().With.Message.EqualTo("Client 'good' was added twice; ids must be unique."));

    [Test]
    public void ValuesTooLargeForTheOutputsTypeAreTheClientsFault()
    {
        MemoryModel global = new() { { "a", [1], new Half[] { (Half)1 } } };
        ClientUpdate large = ClientUpdate.FromTensors("large", new MemoryModel { { "a", [1], new float[] { 1e6f } } }, 1);
        ClientUpdate good = ClientUpdate.FromTensors("good", new MemoryModel { { "a", [1], new Half[] { (Half)3 } } }, 1);
        const string Sentence =
            "Client 'large': tensor 'a' has 1 value too large for F16; values that fit the output's type were expected.";
        Assert.That(() => Models.Run(new FedAvgAggregator(), global, [good, large]),
            Throws.TypeOf<RoundRejectedException>().With.Message.EqualTo(Sentence));
        (RoundReport report, MemorySink sink) = Models.Run(new FedAvgAggregator(), global, [good, large],
            new RoundOptions { OnNonFinite = FaultPolicy.DropClient, Quorum = 1 });
        using (sink)
            Assert.That(sink.Model.ToArray<Half>("a"), Is.EqualTo(new[] { (Half)3 }));
        Assert.That(report.Clients.Single(client => client.Id == "large").Reason, Is.EqualTo(Sentence));
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
    public void ManyTensorsOfAnotherTypeAreOneNote()
    {
        var half = new MemoryModel { { "a", [2], new Half[2] }, { "b", [2, 2], new Half[4] }, { "c", [1], new float[1] },
            { "d", [1], new float[1] } };
        RoundReport report = Models.RunForReport(new FedAvgAggregator(), Global, [ClientUpdate.FromTensors("x", half, 1)],
            new RoundOptions { OnExtra = FaultPolicy.DropTensor });
        Assert.That(report.Notes, Is.EqualTo(new[]
        {
            "Client 'x': tensor 'a' is F16, in the global model F32; both are widened exactly. 1 more of its tensors is widened too.",
            "Client 'x': tensor 'c' of F32 [1] is not in the global model. It was ignored; 1 more was ignored too.",
        }));
    }

    [Test]
    public void TextFromUpdatesIsCleanedInMessages()
    {
        string hostile = "\u001b[2J" + new string('x', 1000), cleaned = "\\u001b[2J" + new string('x', 89) + "..." + new string('x', 98);
        static ClientUpdate Client(string id, MemoryModel model) => ClientUpdate.FromTensors(id, model, 1);
        MemoryModel extra = new() { { "a", [2], new float[2] }, { "b", [2, 2], new float[4] }, { hostile, [1], new float[1] } };
        Refused(Client("k", extra), $"Client 'k': tensor '{cleaned}' of F32 [1] is not in the global model.");
        Refused(Client(hostile, new MemoryModel { { "a", [2], new float[2] } }),
            $"Client '{cleaned}': tensor 'b' is missing; F32 [2, 2] was expected.");
        Refused(Client(hostile, ModelOf([0, float.NaN], [0, 0, 0, 0])),
            $"Client '{cleaned}': tensor 'a' has 1 value that is NaN or infinite; finite values were expected.");
        Refused(ClientUpdate.FromTensors("k", new MemoryModel(new Dictionary<string, string> { [MetadataKeys.Update] = hostile })),
            $"Client 'k': 'memory': metadata 'fedicu.update' is '{cleaned}'; full, delta or sparse was expected.");
        Refused(ClientUpdate.FromTensors("k", new MemoryModel(new Dictionary<string, string> { [MetadataKeys.Examples] = hostile })),
            $"Client 'k': 'memory': metadata 'num_examples' is '{cleaned}'; a number was expected.");
        Refused(ClientUpdate.FromTensors("k", new MemoryModel(), 1, baseDigest: hostile),
            $"Client 'k' made its update against the model {cleaned}; the round's global model is {ModelDigest.Compute(Global)}.");

        static void Refused(ClientUpdate update, string sentence) => Assert.That(
            () => Models.Run(new FedAvgAggregator(), Global, [update]),
            Throws.TypeOf<RoundRejectedException>().With.Message.EqualTo(sentence));
    }

    [Test]
    public void ALongListOfReasonsIsCut()
    {
        ClientUpdate[] clients = [.. Enumerable.Range(0, 30)
            .Select(k => ClientUpdate.FromTensors($"{k:00}", new MemoryModel { { "a", [2], new float[2] } }, 1))];
        string said = Assert.Throws<RoundRejectedException>(
            () => Models.Run(new FedAvgAggregator(), Global, clients, new RoundOptions { OnMissing = FaultPolicy.DropClient }))!.Message;
        Assert.That(said, Does.Contain("'09'").And.Not.Contain("'10'").And.EndsWith(" And 20 more."));
    }

    [Test]
    public void TheFileIsNamedUnlessItIsTheId()
    {
        using var folder = new TempFolder();
        string path = folder["k.safetensors"], global = folder["g.safetensors"];
        ModelOf([0, float.NaN], [0, 0, 0, 0]).SaveTo(TensorSink.ToFile(path));
        ModelOf([0, float.NaN], [0, 0, 0, 0]).SaveTo(TensorSink.ToFile(global));
        const string What = "tensor 'a' has 1 value that is NaN or infinite; finite values were expected.";
        using TensorSource opened = TensorSource.Open(path), broken = TensorSource.Open(global);
        Refused(Global, ClientUpdate.FromFile("k", path), $"Client 'k' ('{path}'): {What}");
        Refused(Global, ClientUpdate.FromFile(path, path), $"Client '{path}': {What}");
        Refused(Global, ClientUpdate.FromTensors("k", opened), $"Client 'k' ('{path}'): {What}");
        Refused(broken, ClientUpdate.FromTensors("k", Global, kind: UpdateKind.Delta),
            $"The global model's tensor 'a' in '{global}' has 1 value that is NaN or infinite; finite values were expected.");

        static void Refused(TensorSource global, ClientUpdate update, string sentence) => Assert.That(
            () => Models.Run(new FedAvgAggregator(), global, [update]),
            Throws.TypeOf<RoundRejectedException>().With.Message.EqualTo(sentence));
    }

    [Test]
    public void WeightsOfTheWholeModelHandleANonFiniteValueInTheLastTensor(
        [Values(float.NaN, float.PositiveInfinity)] float value, [Values] FaultPolicy policy,
        [Values(Similarity.Pairwise, Similarity.PreviousDirection)] Similarity similarity)
    {
        var aggregator = new FedIcuAggregator(new FedIcuOptions { Granularity = Granularity.Model, Similarity = similarity });
        ClientUpdate bad = ClientUpdate.FromTensors("bad", ModelOf([1, 2], [1, 2, 3, value]), 1);
        const string Sentence = "Client 'bad': tensor 'b' has 1 value that is NaN or infinite; finite values were expected.";
        var options = new RoundOptions { OnNonFinite = policy, Quorum = 2 };
        if (policy == FaultPolicy.Reject)
        {
            Assert.That(() => Models.Run(aggregator, Global, [Good, bad, AlsoGood], options),
                Throws.TypeOf<RoundRejectedException>().With.Message.EqualTo(Sentence));
            return;
        }

        (RoundReport report, MemorySink sink) = Models.Run(aggregator, Global, [Good, bad, AlsoGood], options);
        (_, MemorySink expected) = policy == FaultPolicy.DropClient
            ? Models.Run(aggregator, Global, [Good, AlsoGood])
            : Models.Run(aggregator, Models.Of("a", [2], 1, 2), [Only("good", 3, 4), Only("bad", 1, 2), Only("fine", 5, 6)]);
        using (sink)
        using (expected)
        {
            Assert.That(Models.Bytes(sink.Model, "a"), Is.EqualTo(Models.Bytes(expected.Model, "a")));
            Assert.That(Models.Bytes(sink.Model, "b"),
                Is.EqualTo(Models.Bytes(policy == FaultPolicy.DropClient ? expected.Model : Global, "b")));
        }

        Assert.That(policy == FaultPolicy.DropClient ? report.Clients[0].Reason : report.Tensors[1].Reason, Is.EqualTo(Sentence));
        Assert.That(report.Clients.Select(client => client.NonFinite), Is.EqualTo(new[] { 1L, 0, 0 }));
        Assert.That(report.ToJson(), Does.Contain("\"non_finite\": 1"));

        static ClientUpdate Only(string id, float first, float second) =>
            ClientUpdate.FromTensors(id, Models.Of("a", [2], first, second), 1);
    }

    [Test]
    public void AGlobalModelThatIsNotReadMayHoldInfinities([Values(UpdateKind.Full, UpdateKind.Delta)] UpdateKind kind)
    {
        MemoryModel global = new() { { "a", [1], new float[] { 1 } }, { "mask", [2], new[] { 0, float.NegativeInfinity } } };
        static ClientUpdate Client(string id, float value, UpdateKind kind) =>
            ClientUpdate.FromTensors(id, new MemoryModel { { "a", [1], new[] { value } }, { "mask", [2], new float[2] } }, 1, kind);
        // if the second client sends a delta, it would need the global model, but it is left out first
        (RoundReport report, MemorySink sink) = Models.Run(
            new FedAvgAggregator(), global, [Client("x", 2, UpdateKind.Full), Client("y", float.NaN, kind)],
            new RoundOptions { OnNonFinite = FaultPolicy.DropClient, Quorum = 1 });
        using (sink)
            Assert.That(sink.Model.ToArray<float>("mask"), Is.EqualTo(new float[2]));
        Assert.That(report.Clients.Select(client => client.Included), Is.EqualTo(new[] { true, false }));
    }

    [Test]
    public void AKeptTensorKeepsItsInfinitiesInAnotherType([Values] bool toFile)
    {
        using var folder = new TempFolder();
        MemoryModel global = new() { { "mask", [3], new[] { 1, float.NegativeInfinity, float.NaN } }, { "w", [1], new float[] { 1 } } };
        MemoryModel client = new() { { "w", [1], new float[] { 3 } } };
        var options = new RoundOptions { OnMissing = FaultPolicy.DropTensor, OutputDType = DType.F16 };
        var round = new AggregationRound(global, options) { ClientUpdate.FromTensors("x", client, 1) };
        using var memory = new MemorySink();
        new FedAvgAggregator().AggregateAsync(round, toFile ? TensorSink.ToFile(folder["o.safetensors"]) : memory).GetAwaiter().GetResult();
        using TensorSource made = toFile ? TensorSource.Open(folder["o.safetensors"]) : memory.Model;
        Assert.That(Models.ToDoubles(made, "mask"), Is.EqualTo(new[] { 1, double.NegativeInfinity, double.NaN }));
        Assert.That(Models.ToDoubles(made, "w"), Is.EqualTo(new[] { 3.0 }));

        MemoryModel large = new() { { "mask", [2], new[] { 1e6f, float.NegativeInfinity } }, { "w", [1], new float[] { 1 } } };
        Assert.That(() => Models.Run(new FedAvgAggregator(), large, [ClientUpdate.FromTensors("x", client, 1)], options),
            Throws.TypeOf<RoundRejectedException>().With.Message.EqualTo(
                "Tensor 'mask': 1 result is not finite, from finite inputs; it does not fit F16."));
    }

    [Test]
    public void ATensorIsNotDroppedForAClientThatIsDropped([Values] bool later)
    {
        MemoryModel global = new() { { "a", [2], new float[2] }, { "b", [1], new float[1] }, { "c", [1], new float[1] } };
        static ClientUpdate Client(string id, float value) =>
            ClientUpdate.FromTensors(id,
            new MemoryModel { { "a", [2], new[] { value, value } }, { "b", [1], new[] { value } }, { "c", [1], new[] { value } } }, 1);
        MemoryModel wrong = new() { { "a", [1, 2], new float[2] }, { "b", [1], new[] { float.NaN } } };
        if (later)
            wrong.Add("c", [1], new float[1]);
        var options = new RoundOptions
        {
            OnShape = FaultPolicy.DropTensor,
            OnMissing = FaultPolicy.DropClient,
            OnNonFinite = FaultPolicy.DropClient,
            Quorum = 2
        };
        (RoundReport report, MemorySink with) = Models.Run(new FedAvgAggregator(), global,
            [Client("x", 1), ClientUpdate.FromTensors("wrong", wrong, 1), Client("y", 3)], options);
        (_, MemorySink without) = Models.Run(new FedAvgAggregator(), global, [Client("x", 1), Client("y", 3)]);
        Models.AssertSameBits(with, without);
        Assert.That(report.Tensors.Select(tensor => tensor.Rule), Is.All.EqualTo("fedavg"));
        Assert.That(report.Clients.Single(client => !client.Included).Reason, Does.Contain(later ? "NaN" : "missing"));
    }

    [Test]
    public void AnUpdateOfAnotherRoundIsNoted()
    {
        static ClientUpdate Of(string id, string? round) => ClientUpdate.FromTensors(
            id, new MemoryModel(round is null
                ? null : new Dictionary<string, string> { [MetadataKeys.Round] = round }) { { "a", [2], new float[2] },
                { "b", [2, 2], new float[4] } }, 1);
        ClientUpdate[] clients = [Of("x", "7"), Of("y", "6"), Of("z", null)];
        RoundReport report = Models.RunForReport(new FedAvgAggregator(), Global, clients, new RoundOptions { Round = 7 });
        Assert.That(report.Notes, Is.EqualTo(new[] { "Client 'y' states the round '6'; this is round 7." }));
        Assert.That(Models.RunForReport(new FedAvgAggregator(), Global, clients).Notes, Is.Empty);
    }

    [Test]
    public void AModelWithNamesOfPackedPartsAcceptsNoSparseUpdates([Values("w#mask", "w#values")] string name)
    {
        MemoryModel global = Models.Of(name, [1], 1);
        Assert.That(() => Models.Run(new FedAvgAggregator(), global,
            [ClientUpdate.FromTensors("k", global, 1, UpdateKind.Sparse, ModelDigest.Compute(global))]),
            Throws.TypeOf<RoundRejectedException>().With.Message.EqualTo(
                $"Client 'k': 'memory' is sparse, but the model's tensor '{name}' has the name of a part of a packed tensor; a full " +
                    "update or a delta was expected."));
        Models.Run(new FedAvgAggregator(), global, [ClientUpdate.FromTensors("k", global, 1)]).Sink.Dispose();
    }

    [Test]
    public void WithoutAGlobalAdapterClientsAreComparedWithEachOther()
    {
        using var folder = new TempFolder();
        MemoryModel model = Models.Of("w", [2], 1, 2);
        ClientUpdate Client(string id, int? rank)
        {
            if (rank is null)
                return ClientUpdate.FromTensors(id, model, 1);
            var config = PeftAdapterConfig.Parse(System.Text.Encoding.UTF8.GetBytes($$"""{"peft_type":"LORA","r":{{rank}}}"""), "test");
            model.SaveTo(TensorSink.ToAdapterFolder(folder[id], config));
            return ClientUpdate.FromFile(id, folder[id], 1);
        }

        Assert.That(() => Models.Run(new FedAvgAggregator(), model, [Client("a", 8), Client("b", null), Client("c", 4)]),
            Throws.TypeOf<RoundRejectedException>()
            .With.Message.EqualTo(
                $"Client 'c' ('{folder["c"]}'): its adapter_config.json disagrees with that of client 'a': r 4 against 8."));
        RoundReport report = Models.RunForReport(new FedAvgAggregator(), model,
            [Client("a", 8), Client("b", null), Client("c", 8), Client("d", null)]);
        Assert.That(report.Notes,
            Is.EqualTo(new[]
            {
                "Client 'b' and 1 more came without the adapter_config.json that others have: there was nothing to compare.",
            }));
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

        foreach (IAggregator aggregator in new IAggregator[] { new FedAvgAggregator(), new FedIcuAggregator(),
            new FedIcuAggregator(new FedIcuOptions { Target = SplitTarget.Delta }) })
        {
            ClientUpdate other = ClientUpdate.FromTensors("other", Models.Random(3), 2);
            (_, MemorySink full) = Models.Run(aggregator, global, [other, ClientUpdate.FromTensors("x", local, 1)]);
            (RoundReport report, MemorySink differences) =
                Models.Run(aggregator, global, [other, ClientUpdate.FromTensors("x", delta, 1, UpdateKind.Delta)]);
            Models.AssertSameBits(differences, full);
            Assert.That(report.Notes, Has.Some.Contains("does not state which model"));
        }
    }

    [Test]
    public void ARoundReportsProgressAndCanBeCancelled()
    {
        var progress = new Collected();
        var round = new AggregationRound(Global, new RoundOptions { Progress = progress }) { Good };
        using var cancelled = new CancellationTokenSource();
        using var sink = new MemorySink();
        new FedAvgAggregator().AggregateAsync(round, sink).GetAwaiter().GetResult();
        Assert.That(progress.Seen.Select(step => (step.Tensor, step.BytesDone)), Is.EqualTo(new[] { ("a", 8L), ("b", 24L) }));

        var cancelling = new AggregationRound(Global, new RoundOptions { Progress = new Cancelling(cancelled) }) { Good };
        using var untouched = new MemorySink();
        Assert.That(async () => await new FedAvgAggregator().AggregateAsync(cancelling, untouched, cancelled.Token),
            Throws.InstanceOf<OperationCanceledException>());
        Assert.That(() => untouched.Model, Throws.InvalidOperationException);
    }

    [Test]
    public void TheReportOfADroppedTensorCountsEachClientsNonFiniteValues()
    {
        ClientUpdate bad = ClientUpdate.FromTensors("bad", ModelOf([0, 0], [1, float.PositiveInfinity, float.NegativeInfinity, 1]), 1);
        RoundReport report = Models.RunForReport(new FedIcuAggregator(), Global, [Good, bad],
            new RoundOptions { OnNonFinite = FaultPolicy.DropTensor });
        Assert.That(report.Tensors[1].Rule, Is.EqualTo("kept"));
        Assert.That(report.Tensors[1].Clients.Select(client => (client.Id, client.NonFinite)),
            Is.EqualTo(new[] { ("bad", 2L), ("good", 0L) }));
        Assert.That(report.ToJson(), Does.Contain("\"dtype\": \"F32\"").And.Contain("\"non_finite\": 2"));
    }

    [Test]
    public void TheOutputDoesNotKeepTheRoundOfTheGlobalModel([Values] bool numbered)
    {
        using var global = new MemoryModel(
            new Dictionary<string, string> { [MetadataKeys.Round] = "3", ["format"] = "pt" }) { { "w", [1], new float[] { 1 } } };
        (_, MemorySink sink) = Models.Run(new FedAvgAggregator(), global, [ClientUpdate.FromTensors("a", global, 1)],
            new RoundOptions { Round = numbered ? 7 : null });
        using (sink)
        {
            Assert.That(sink.Model.Metadata.GetValueOrDefault(MetadataKeys.Round), Is.EqualTo(numbered ? "7" : null));
            Assert.That(sink.Model.Metadata["format"], Is.EqualTo("pt"));
        }
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

    private sealed class Cancelling(CancellationTokenSource source) : IProgress<RoundProgress>
    {
        public void Report(RoundProgress value) => source.Cancel();
    }
}
