using FedICU.Compute;
using FedICU.Compute.Simd;
using FedICU.Rounds.Lora;
using FedICU.Tests.Files;
using FedICU.Text;

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
            "Client 'bad': tensor 'a' has the type I32; a float type (F64, F32, F16 or BF16) was expected.");
        yield return Case(RoundFault.NonFinite, Bad(Model([0, float.NaN], [1, float.PositiveInfinity, float.NegativeInfinity, 1])), "a",
            "Client 'bad': tensor 'a' has 1 value that is NaN or infinite; finite values were expected.");
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
        Throws.TypeOf<RoundRejectedException>().With.Message.StartsWith("No client remains in the round. Client 'x': tensor 'a' has 1 value"));

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
    public void ValuesTooLargeForTheOutputsTypeAreTheirClients()
    {
        MemoryModel global = new() { { "a", [1], new Half[] { (Half)1 } } };
        ClientUpdate large = ClientUpdate.FromTensors("large", new MemoryModel { { "a", [1], new float[] { 1e6f } } }, 1);
        ClientUpdate good = ClientUpdate.FromTensors("good", new MemoryModel { { "a", [1], new Half[] { (Half)3 } } }, 1);
        const string Sentence = "Client 'large': tensor 'a' has 1 value too large for F16; values that fit the output's type were expected.";
        Assert.That(() => Models.Run(new FedAvgAggregator(), global, [good, large]), Throws.TypeOf<RoundRejectedException>().With.Message.EqualTo(Sentence));
        (RoundReport report, MemorySink sink) = Models.Run(new FedAvgAggregator(), global, [good, large], new RoundOptions { OnNonFinite = FaultPolicy.DropClient, Quorum = 1 });
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
        var half = new MemoryModel { { "a", [2], new Half[2] }, { "b", [2, 2], new Half[4] }, { "c", [1], new float[1] }, { "d", [1], new float[1] } };
        (RoundReport report, MemorySink sink) = Models.Run(new FedAvgAggregator(), Global, [ClientUpdate.FromTensors("x", half, 1)], new RoundOptions { OnExtra = FaultPolicy.DropTensor });
        sink.Dispose();
        Assert.That(report.Notes, Is.EqualTo(new[]
        {
            "Client 'x': tensor 'a' is F16 where the global model has F32; both are widened exactly. So is 1 more of its tensors.",
            "Client 'x': tensor 'c' of F32 [1] is not in the global model. It was ignored, and so was 1 more.",
        }));
    }

    [Test]
    public void TextOfUpdatesIsCleaned()
    {
        string hostile = "\u001b[2J" + new string('x', 1000), cleaned = "\\u001b[2J" + new string('x', 89) + "..." + new string('x', 98);
        static ClientUpdate Client(string id, MemoryModel model) => ClientUpdate.FromTensors(id, model, 1);
        MemoryModel extra = new() { { "a", [2], new float[2] }, { "b", [2, 2], new float[4] }, { hostile, [1], new float[1] } };
        Refused(Client("k", extra), $"Client 'k': tensor '{cleaned}' of F32 [1] is not in the global model.");
        Refused(Client(hostile, new MemoryModel { { "a", [2], new float[2] } }), $"Client '{cleaned}': tensor 'b' is missing; F32 [2, 2] was expected.");
        Refused(Client(hostile, Model([0, float.NaN], [0, 0, 0, 0])), $"Client '{cleaned}': tensor 'a' has 1 value that is NaN or infinite; finite values were expected.");
        Refused(ClientUpdate.FromTensors("k", new MemoryModel(new Dictionary<string, string> { [MetadataKeys.Update] = hostile })),
            $"Client 'k': 'memory': metadata 'fedicu.update' is '{cleaned}'; full, delta or sparse was expected.");
        Refused(ClientUpdate.FromTensors("k", new MemoryModel(new Dictionary<string, string> { [MetadataKeys.Examples] = hostile })),
            $"Client 'k': 'memory': metadata 'num_examples' is '{cleaned}'; a number was expected.");
        Refused(ClientUpdate.FromTensors("k", new MemoryModel(), 1, baseDigest: hostile),
            $"Client 'k' made its update against the model {cleaned}; the round's global model is {ModelDigest.Compute(Global)}.");

        static void Refused(ClientUpdate update, string sentence) => Assert.That(
            () => Models.Run(new FedAvgAggregator(), Global, [update]), Throws.TypeOf<RoundRejectedException>().With.Message.EqualTo(sentence));
    }

    [Test]
    public void ALongListOfReasonsIsCut()
    {
        ClientUpdate[] clients = [.. Enumerable.Range(0, 30).Select(k => ClientUpdate.FromTensors($"{k:00}", new MemoryModel { { "a", [2], new float[2] } }, 1))];
        string said = Assert.Throws<RoundRejectedException>(
            () => Models.Run(new FedAvgAggregator(), Global, clients, new RoundOptions { OnMissing = FaultPolicy.DropClient }))!.Message;
        Assert.That(said, Does.Contain("'09'").And.Not.Contain("'10'").And.EndsWith(" And 20 more."));
    }

    [Test]
    public void TheFileIsNamedWhereItIsNotTheId()
    {
        using var folder = new TempFolder();
        string path = folder["k.safetensors"], global = folder["g.safetensors"];
        Model([0, float.NaN], [0, 0, 0, 0]).SaveTo(TensorSink.ToFile(path));
        Model([0, float.NaN], [0, 0, 0, 0]).SaveTo(TensorSink.ToFile(global));
        const string What = "tensor 'a' has 1 value that is NaN or infinite; finite values were expected.";
        using TensorSource opened = TensorSource.Open(path), broken = TensorSource.Open(global);
        Refused(Global, ClientUpdate.FromFile("k", path), $"Client 'k' ('{path}'): {What}");
        Refused(Global, ClientUpdate.FromFile(path, path), $"Client '{path}': {What}");
        Refused(Global, ClientUpdate.FromTensors("k", opened), $"Client 'k' ('{path}'): {What}");
        Refused(broken, ClientUpdate.FromTensors("k", Global, kind: UpdateKind.Delta),
            $"The global model's tensor 'a' in '{global}' has 1 value that is NaN or infinite; finite values were expected.");

        static void Refused(TensorSource global, ClientUpdate update, string sentence) => Assert.That(
            () => Models.Run(new FedAvgAggregator(), global, [update]), Throws.TypeOf<RoundRejectedException>().With.Message.EqualTo(sentence));
    }

    [Test]
    public void WeightsOfTheWholeModelAndAValueThatIsNotFiniteInTheLastTensor(
        [Values(float.NaN, float.PositiveInfinity)] float value, [Values] FaultPolicy policy, [Values(Similarity.Pairwise, Similarity.PreviousDirection)] Similarity similarity)
    {
        var aggregator = new FedIcuAggregator(new FedIcuOptions { Granularity = Granularity.Model, Similarity = similarity });
        ClientUpdate bad = ClientUpdate.FromTensors("bad", Model([1, 2], [1, 2, 3, value]), 1);
        const string Sentence = "Client 'bad': tensor 'b' has 1 value that is NaN or infinite; finite values were expected.";
        var options = new RoundOptions { OnNonFinite = policy, Quorum = 2 };
        if (policy == FaultPolicy.Reject)
        {
            Assert.That(() => Models.Run(aggregator, Global, [Good, bad, AlsoGood], options), Throws.TypeOf<RoundRejectedException>().With.Message.EqualTo(Sentence));
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
            Assert.That(Models.Bytes(sink.Model, "b"), Is.EqualTo(Models.Bytes(policy == FaultPolicy.DropClient ? expected.Model : Global, "b")));
        }

        Assert.That(policy == FaultPolicy.DropClient ? report.Clients[0].Reason : report.Tensors[1].Reason, Is.EqualTo(Sentence));
        Assert.That(report.Clients.Select(client => client.NonFinite), Is.EqualTo(new[] { 1L, 0, 0 }));
        Assert.That(report.ToJson(), Does.Contain("\"non_finite\": 1"));

        static ClientUpdate Only(string id, float first, float second) => ClientUpdate.FromTensors(id, Models.Of("a", [2], first, second), 1);
    }

    [Test]
    public void AGlobalModelThatIsNeverReadMayHoldAnything([Values(UpdateKind.Full, UpdateKind.Delta)] UpdateKind kind)
    {
        MemoryModel global = new() { { "a", [1], new float[] { 1 } }, { "mask", [2], new[] { 0, float.NegativeInfinity } } };
        static ClientUpdate Client(string id, float value, UpdateKind kind) => ClientUpdate.FromTensors(id, new MemoryModel { { "a", [1], new[] { value } }, { "mask", [2], new float[2] } }, 1, kind);
        // the second client is not whole: it would read the global model, but it is left out before
        (RoundReport report, MemorySink sink) = Models.Run(
            new FedAvgAggregator(), global, [Client("x", 2, UpdateKind.Full), Client("y", float.NaN, kind)], new RoundOptions { OnNonFinite = FaultPolicy.DropClient, Quorum = 1 });
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
            Throws.TypeOf<RoundRejectedException>().With.Message.EqualTo("Tensor 'mask': 1 result is not finite, from finite inputs; it does not fit F16."));
    }

    [Test]
    public void ATensorIsNotDroppedForAClientThatIsDropped([Values] bool later)
    {
        MemoryModel global = new() { { "a", [2], new float[2] }, { "b", [1], new float[1] }, { "c", [1], new float[1] } };
        static ClientUpdate Client(string id, float value) => ClientUpdate.FromTensors(id, new MemoryModel { { "a", [2], new[] { value, value } }, { "b", [1], new[] { value } }, { "c", [1], new[] { value } } }, 1);
        MemoryModel wrong = new() { { "a", [1, 2], new float[2] }, { "b", [1], new[] { float.NaN } } };
        if (later)
            wrong.Add("c", [1], new float[1]);
        var options = new RoundOptions { OnShape = FaultPolicy.DropTensor, OnMissing = FaultPolicy.DropClient, OnNonFinite = FaultPolicy.DropClient, Quorum = 2 };
        (RoundReport report, MemorySink with) = Models.Run(new FedAvgAggregator(), global, [Client("x", 1), ClientUpdate.FromTensors("wrong", wrong, 1), Client("y", 3)], options);
        (_, MemorySink without) = Models.Run(new FedAvgAggregator(), global, [Client("x", 1), Client("y", 3)]);
        using (with)
        using (without)
            Assert.That(Models.AllBytes(with.Model), Is.EqualTo(Models.AllBytes(without.Model)));
        Assert.That(report.Tensors.Select(tensor => tensor.Rule), Is.All.EqualTo("fedavg"));
        Assert.That(report.Clients.Single(client => !client.Included).Reason, Does.Contain(later ? "NaN" : "missing"));
    }

    [Test]
    public void AnotherRoundIsNoted()
    {
        static ClientUpdate Of(string id, string? round) => ClientUpdate.FromTensors(
            id, new MemoryModel(round is null ? null : new Dictionary<string, string> { [MetadataKeys.Round] = round }) { { "a", [2], new float[2] }, { "b", [2, 2], new float[4] } }, 1);
        ClientUpdate[] clients = [Of("x", "7"), Of("y", "6"), Of("z", null)];
        (RoundReport report, MemorySink sink) = Models.Run(new FedAvgAggregator(), Global, clients, new RoundOptions { Round = 7 });
        sink.Dispose();
        Assert.That(report.Notes, Is.EqualTo(new[] { "Client 'y' states the round '6'; this is round 7." }));
        (report, sink) = Models.Run(new FedAvgAggregator(), Global, clients);
        sink.Dispose();
        Assert.That(report.Notes, Is.Empty);
    }

    [Test]
    public void AModelWhoseTensorsAreCalledLikePartsTakesNoSparseUpdates([Values("w#mask", "w#values")] string name)
    {
        MemoryModel global = Models.Of(name, [1], 1);
        Assert.That(() => Models.Run(new FedAvgAggregator(), global, [ClientUpdate.FromTensors("k", global, 1, UpdateKind.Sparse, ModelDigest.Compute(global))]),
            Throws.TypeOf<RoundRejectedException>().With.Message.EqualTo(
                $"Client 'k': 'memory': a sparse update of a model whose tensor '{name}' is called like a part of a packed one; a full update or a delta was expected."));
        Models.Run(new FedAvgAggregator(), global, [ClientUpdate.FromTensors("k", global, 1)]).Sink.Dispose();
    }

    [Test]
    public void AdaptersAreComparedWithoutAGlobalOne()
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

        Assert.That(() => Models.Run(new FedAvgAggregator(), model, [Client("a", 8), Client("b", null), Client("c", 4)]), Throws.TypeOf<RoundRejectedException>()
            .With.Message.EqualTo($"Client 'c' ('{folder["c"]}'): its adapter_config.json disagrees with that of client 'a': r 4 against 8."));
        (RoundReport report, MemorySink sink) = Models.Run(new FedAvgAggregator(), model, [Client("a", 8), Client("b", null), Client("c", 8), Client("d", null)]);
        sink.Dispose();
        Assert.That(report.Notes, Is.EqualTo(new[] { "Client 'b' and 1 more came without the adapter_config.json that others have: there was nothing to compare." }));
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
        (RoundReport report, MemorySink sink) = Models.Run(new FedIcuAggregator(), global, clients);
        Assert.That(report.Tensors[0].Clients.Select(client => (client.Id, client.Weight)), Is.EqualTo(new (string, double?)[] { ("x", .5), ("y", .5) }));
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
        var progress = new Collected();
        var round = new AggregationRound(Global, new RoundOptions { Progress = progress }) { Good };
        using var cancelled = new CancellationTokenSource();
        using var sink = new MemorySink();
        new FedAvgAggregator().AggregateAsync(round, sink).GetAwaiter().GetResult();
        Assert.That(progress.Seen.Select(step => (step.Tensor, step.BytesDone)), Is.EqualTo(new[] { ("a", 8L), ("b", 24L) }));

        var cancelling = new AggregationRound(Global, new RoundOptions { Progress = new Cancelling(cancelled) }) { Good };
        using var untouched = new MemorySink();
        Assert.That(async () => await new FedAvgAggregator().AggregateAsync(cancelling, untouched, cancelled.Token), Throws.InstanceOf<OperationCanceledException>());
        Assert.That(() => untouched.Model, Throws.InvalidOperationException);
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
        MemoryModel global = Models.Of64("w", [2], 1.7e308, -1.7e308);
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

    [TestCase("m.lora_A.weight", "m.lora_B.weight"), TestCase("m.lora_embedding_A", "m.lora_embedding_B")]
    public void TheCrossTermOfLoraFactors(string nameOfA, string nameOfB)
    {
        MemoryModel Pair(float[] a, float[] b) => new() { { nameOfA, [1, 2], a }, { nameOfB, [2, 1], b } };
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

    [TestCase(1100, 530, 3, 3), TestCase(255, 257, 5, 4), TestCase(3, 2, 1, 1)]
    public void TheCrossTermOfLongFactorsEqualsTheDenseOne(int inputs, int outputs, int rank, int clients)
    {
        var random = new Random(5);
        float[] Values(int count) => [.. Enumerable.Range(0, count).Select(_ => random.NextSingle() - .4f)];
        float[][] a = [.. Enumerable.Range(0, clients).Select(_ => Values(rank * inputs))], b = [.. Enumerable.Range(0, clients).Select(_ => Values(outputs * rank))];
        MemoryModel Pair(float[] a, float[] b) => new() { { "m.lora_A.weight", [rank, inputs], a }, { "m.lora_B.weight", [outputs, rank], b } };
        double[] terms = [.. new[] { 1, 3 }.Select(threads =>
        {
            (RoundReport report, MemorySink sink) = Models.Run(new FedAvgAggregator(), Pair(a[0], b[0]),
                Enumerable.Range(0, clients).Select(k => ClientUpdate.FromTensors($"{k}", Pair(a[k], b[k]), k + 1)), new RoundOptions { Statistics = true, Threads = threads });
            sink.Dispose();
            return report.LoraPairs.Single().CrossTerm;
        })];
        double square = 0, difference = 0;
        for (int o = 0; o < outputs; o++)
        {
            for (int i = 0; i < inputs; i++)
            {
                double whole = 0, apart = 0;
                for (int r = 0; r < rank; r++)
                {
                    double meanA = 0, meanB = 0;
                    for (int k = 0; k < clients; k++)
                    {
                        double share = (k + 1) / (clients * (clients + 1) / 2.0);
                        whole += share * b[k][o * rank + r] * a[k][r * inputs + i];
                        meanA += share * a[k][r * inputs + i];
                        meanB += share * b[k][o * rank + r];
                    }

                    apart += meanB * meanA;
                }

                square += whole * whole;
                difference += (whole - apart) * (whole - apart);
            }
        }

        Assert.That(terms[0], Is.EqualTo(Math.Sqrt(difference / square)).Within(1e-12));
        Assert.That(terms[1], Is.EqualTo(terms[0]), "the same for any number of threads");
    }

    [Test]
    public void PairsOfTooManyStackedRanksAreOneNote()
    {
        static MemoryModel Pairs() => new()
        {
            { "m.lora_A.weight", [1100, 1], new float[1100] }, { "m.lora_B.weight", [1, 1100], new float[1100] }, { "n.lora_A.weight", [1100, 1], new float[1100] }, { "n.lora_B.weight", [1, 1100], new float[1100] },
        };
        (RoundReport report, MemorySink sink) = Models.Run(
            new FedAvgAggregator(), Pairs(), [ClientUpdate.FromTensors("x", Pairs(), 1), ClientUpdate.FromTensors("y", Pairs(), 1)], new RoundOptions { Statistics = true });
        sink.Dispose();
        Assert.That(report.Notes, Is.EqualTo(new[] { "The cross-term of 'm' and of 1 more LoRA pair was left out: clients times rank are more than 2048." }));
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
