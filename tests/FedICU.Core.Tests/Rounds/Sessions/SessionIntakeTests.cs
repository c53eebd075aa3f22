using System.Text;
using FedICU.Errors;
using FedICU.Files;
using FedICU.Tests.Files;

namespace FedICU.Tests;

/// <summary>The checks of an update on its arrival at a session.</summary>
internal sealed class SessionIntakeTests : SessionFixture
{
    private const string Config = """{"peft_type":"LORA","r":1,"lora_alpha":2}""";

    [Test]
    public async Task AdaptersKeepTheirConfigs()
    {
        Put("global", Config);
        Put("good", Config);
        Put("other", Config.Replace("\"r\":1", "\"r\":4", StringComparison.Ordinal));
        using PeftAdapter global = PeftAdapter.Open(Folder["global"]);
        using (AggregationSession session = AggregationSession.Create(Place, global))
        {
            await session.AddAsync(ClientUpdate.FromFile("good", Folder["good"]));
            Assert.That(async () => await session.AddAsync(ClientUpdate.FromFile("other", Folder["other"])),
                Throws.TypeOf<RoundRejectedException>()
                .With.Message.StartsWith(
                    $"Client 'other' ('{Folder["other"]}'): its adapter_config.json disagrees with the global adapter's: r "));
        }

        using (AggregationSession session = AggregationSession.Open(Place, global))
        {
            using var copy = (PeftAdapter)session.Updates[0].Open(new RoundFiles()).Source;
            Assert.That(Encoding.UTF8.GetString(copy.Config.RawJson.Span), Is.EqualTo(Config));
            await new FedAvgAggregator().AggregateAsync(session.ToRound(), TensorSink.Discard);
        }

        File.AppendAllText(Path.Combine(FindUpdate("good", global), "adapter_config.json"), " ");
        Assert.That(() => AggregationSession.Open(Place, global),
            Throws.TypeOf<RoundRejectedException>().With.Message.StartsWith("Client 'good': '"));

        void Put(string name, string config) =>
            Global.SaveTo(TensorSink.ToAdapterFolder(Folder[name], PeftAdapterConfig.Parse(Encoding.UTF8.GetBytes(config), "test")));
    }

    /// <summary>
    /// A session refuses an update with the round's sentence and leaves no file of it, so the client may send a better
    /// one.
    /// </summary>
    [Test]
    public async Task AFaultIsRefusedOnArrival()
    {
        var shape = new MemoryModel();
        foreach (TensorInfo tensor in Global.Tensors)
        {
            TensorInfo other = tensor.Name == "norm.weight" ? tensor with { Shape = new TensorShape(32) } : tensor;
            shape.Add(other, new byte[other.ByteLength]);
        }

        Folder.Put("text.safetensors", "no model"u8);
        ClientUpdate[] faulty =
        [
            ClientUpdate.FromTensors("a", shape, 1),
            ClientUpdate.FromTensors("a", Models.Of("extra", [1], 0), 1),
            ClientUpdate.FromTensors("a", Models.Random(2), -1),
            ClientUpdate.FromTensors("a", Models.Random(2, metadata: new Dictionary<string, string> { ["num_examples"] = "many" })),
            ClientUpdate.FromTensors("a", Models.Random(2), 1, UpdateKind.Delta, "sha256:0"),
            ClientUpdate.FromTensors("a", Models.Random(2), 1, UpdateKind.Sparse),
            ClientUpdate.FromFile("a", Folder["missing.safetensors"]),
            ClientUpdate.FromFile("a", Folder["text.safetensors"]),
        ];
        foreach (FaultPolicy policy in new[] { FaultPolicy.Reject, FaultPolicy.DropClient })
        {
            var options = new RoundOptions
            {
                OnMissing = policy,
                OnShape = policy,
                OnExtra = policy,
                OnBase = policy,
                OnUnreadable = policy
            };
            using AggregationSession session = AggregationSession.Create(Place, Global, options);
            foreach (ClientUpdate client in faulty)
            {
                var inRound = Assert.ThrowsAsync<RoundRejectedException>(() => new FedAvgAggregator()
                    .AggregateAsync(new AggregationRound(Global) { client }, TensorSink.Discard))!;
                RoundRejectedException refused =
                    Refused<RoundRejectedException>(() => session.AddAsync(client).GetAwaiter().GetResult(), inRound.Message);
                Assert.That((refused.Fault, refused.ClientId, refused.Tensor),
                    Is.EqualTo((inRound.Fault, inRound.ClientId, inRound.Tensor)));
            }

            Assert.That(Directory.GetFileSystemEntries(Place), Has.Length.EqualTo(1));
            await session.AddAsync(Client("a"));
            session.Delete();
        }
    }

    [Test]
    public async Task ATensorThatThePolicyDropsIsAcceptedOnArrival()
    {
        ClientUpdate[] clients = [Client("a"), ClientUpdate.FromTensors("b", Models.Of("extra", [1], 0), 1)];
        var options = new RoundOptions { OnMissing = FaultPolicy.DropTensor, OnExtra = FaultPolicy.DropTensor };
        using AggregationSession session = AggregationSession.Create(Place, Global, options);
        foreach (ClientUpdate client in clients)
            await session.AddAsync(client);
        Assert.That(Bits(new FedAvgAggregator(), session.ToRound()), Is.EqualTo(Batch(new FedAvgAggregator(), clients, options)));
    }

    /// <summary>The first update decides whether weights are stated, before a restart and after it.</summary>
    [Test]
    public async Task EitherAllClientsStateAWeightOrNone([Values] bool weighted, [Values] bool restart)
    {
        ClientUpdate first = ClientUpdate.FromTensors("z", Models.Random(2), weighted ? 5 : null),
            other = ClientUpdate.FromTensors("a", Models.Random(3), weighted ? null : 5);
        AggregationSession session = AggregationSession.Create(Place, Global);
        await session.AddAsync(first);
        if (restart)
        {
            session.Dispose();
            session = AggregationSession.Open(Place, Global);
        }

        using (session)
        {
            RoundRejectedException refused = Refused<RoundRejectedException>(
                () => session.AddAsync(other).GetAwaiter().GetResult(),
                weighted ? "Client 'a' states no num_examples, but client 'z' does; a weight was expected."
                    : "Client 'a' has the weight 5, but client 'z' states none; an update without num_examples was expected.");
            Assert.That((refused.Fault, refused.ClientId), Is.EqualTo((RoundFault.Weight, "a")));
            Assert.That(Directory.GetFileSystemEntries(Place), Has.Length.EqualTo(2), "no file of it is left");

            session.Retract("z");
            await session.AddAsync(other);
            Assert.That(session.Updates.Single().Id, Is.EqualTo("a"), "without the first update nothing is expected");
        }
    }

    [Test]
    public async Task ASessionMayRequireWeights()
    {
        using AggregationSession session = AggregationSession.Create(Place, Global, arrivals: new SessionOptions { RequireWeights = true });
        RoundRejectedException refused = Refused<RoundRejectedException>(
            () => session.AddAsync(ClientUpdate.FromTensors("a", Models.Random(2))).GetAwaiter().GetResult(),
            "Client 'a' states no num_examples; the session requires a weight of every client.");
        Assert.That((refused.Fault, refused.ClientId), Is.EqualTo((RoundFault.Weight, "a")));
        await session.AddAsync(Client("a"));
    }

    /// <summary>Of updates with and without weights that arrive at once, the session accepts only one group.</summary>
    [Test]
    public async Task UpdatesThatArriveAtOnceAgreeOnWeights()
    {
        for (int i = 0; i < 10; i++)
        {
            using AggregationSession session = AggregationSession.Create(Place, Global);
            await Task.WhenAll(Enumerable.Range(0, 4).Select(async k =>
            {
                try
                {
                    await session.AddAsync(ClientUpdate.FromTensors($"{k}", Models.Random(k), k % 2 == 0 ? k + 1 : null));
                }
                catch (RoundRejectedException e) when (e.Fault == RoundFault.Weight)
                {
                }
            }));
            Assert.That(session.Updates, Has.Count.EqualTo(2));
            Assert.That(session.Updates.Select(update => update.Weight is null).Distinct().Count(), Is.EqualTo(1));
            await new FedAvgAggregator().AggregateAsync(session.ToRound(), TensorSink.Discard);
            session.Delete();
        }
    }

    [TestCase("-5"), TestCase("nan"), TestCase("inf"), TestCase("-inf"), TestCase("1e999"), TestCase("9007199254740994"), TestCase("many"),
        TestCase("")]
    public async Task AnInvalidWeightIsRefusedOnArrival(string stated)
    {
        // under any policy, as the sender is still connected
        using AggregationSession session =
            AggregationSession.Create(Place, Global, new RoundOptions { OnWeight = FaultPolicy.DropClient, Quorum = 1 });
        await session.AddAsync(Client("good"));
        Assert.That(
            async () => await session.AddAsync(
                ClientUpdate.FromTensors("bad", Models.Random(3, metadata: new Dictionary<string, string> { ["num_examples"] = stated }))),
            Throws.TypeOf<RoundRejectedException>().With.Message.Contains("'bad'").And.Property("ClientId").EqualTo("bad"));
        if (double.TryParse(stated, out double weight))
            Assert.That(async () => await session.AddAsync(ClientUpdate.FromTensors("bad", Models.Random(3), weight)),
                Throws.TypeOf<RoundRejectedException>().With.Property("ClientId").EqualTo("bad"));
        Assert.That(session.Updates.Select(update => update.Id), Is.EqualTo(new[] { "good" }));
        await new FedAvgAggregator().AggregateAsync(session.ToRound(), TensorSink.Discard);
    }

    [Test]
    public async Task AWeightThatMakesTheSumOverflowIsRefusedOnArrival()
    {
        var options = new RoundOptions { MaxWeight = double.MaxValue };
        using (AggregationSession session = AggregationSession.Create(Place, Global, options))
            await session.AddAsync(ClientUpdate.FromTensors("a", Models.Random(2), 6e307));
        using AggregationSession again = AggregationSession.Open(Place, Global, options);
        RoundRejectedException refused = Refused<RoundRejectedException>(
            () => again.AddAsync(ClientUpdate.FromTensors("b", Models.Random(3), 7e307)).GetAwaiter().GetResult(),
            "Client 'b' has the weight 7E+307; the sum of the session's weights would be 1.3E+308, above 8.988465674311579E+307.");
        Assert.That((refused.Fault, refused.ClientId), Is.EqualTo((RoundFault.Weight, "b")));
        await again.AddAsync(ClientUpdate.FromTensors("b", Models.Random(3), 2e307));
        await new FedAvgAggregator().AggregateAsync(again.ToRound(), TensorSink.Discard);
    }

    /// <summary>
    /// Values are checked in every form of update, at the first and last element and across the pieces of a copy.
    /// </summary>
    [Test]
    public async Task ValuesAreCheckedOnArrivalIfRequested()
    {
        var global = new MemoryModel { { "a", [300_000], new double[300_000] }, { "b", [3], new float[3] }, { "n", [2], new int[2] } };
        var large = new double[300_000];
        (large[0], large[131_072], large[^1]) = (double.NaN, double.PositiveInfinity, double.NegativeInfinity);
        ClientUpdate bad = ClientUpdate.FromTensors("bad",
            new MemoryModel { { "a", [300_000], large }, { "b", [3], new float[3] }, { "n", [2], [-1, int.MaxValue] } });
        ClientUpdate delta = ClientUpdate.FromTensors(
            "delta", new MemoryModel { { "a", [300_000], new double[300_000] }, { "b", [3], new float[] { 1, float.NaN, 1 } },
                { "n", [2], new int[2] } }, kind: UpdateKind.Delta);
        ClientUpdate extra = ClientUpdate.FromTensors(
            "extra", new MemoryModel { { "a", [300_000], new double[300_000] }, { "b", [3], new float[3] }, { "n", [2], new int[2] },
                { "more", [1], new[] { float.NaN } } });
        ClientUpdate sparse = ClientUpdate.FromTensors("sparse", Packed());
        var check = new SessionOptions { CheckValues = true };
        foreach (FaultPolicy policy in (FaultPolicy[])[FaultPolicy.Reject, FaultPolicy.DropClient])
        {
            using AggregationSession session = AggregationSession.Create(Place, global,
                new RoundOptions { OnNonFinite = policy, OnExtra = FaultPolicy.DropTensor, Quorum = 1 }, check);
            Refuses(session, bad, "a", "Client 'bad': tensor 'a' has 3 values that are NaN or infinite; finite values were expected.");
            Refuses(session, delta, "b", "Client 'delta': tensor 'b' has 1 value that is NaN or infinite; finite values were expected.");
            Refuses(session, sparse, "a", "Client 'sparse': tensor 'a' has 1 value that is NaN or infinite; finite values were expected.");
            Assert.That(Directory.GetFileSystemEntries(Place), Has.Length.EqualTo(1), "no file is left");
            await session.AddAsync(extra);
            session.Delete();
        }

        foreach ((FaultPolicy policy,
            SessionOptions? arrivals) in (IEnumerable<(FaultPolicy, SessionOptions?)>)[(FaultPolicy.DropTensor, check),
            (FaultPolicy.Reject, null)])
        {
            using AggregationSession session =
                AggregationSession.Create(Place, global, new RoundOptions { OnNonFinite = policy }, arrivals);
            await session.AddAsync(bad);
            session.Delete();
        }

        MemoryModel Packed() => new(new Dictionary<string, string>
        {
            ["fedicu.update"] = "sparse",
            ["fedicu.base"] = ModelDigest.Compute(global),
            ["fedicu.shape.a"] = "[300000]",
        })
        {
            { "a#values", [1], (double[])[double.NaN] }, { "a#mask", [37_500], (byte[])[0x80, .. new byte[37_499]] },
                { "b", [3], new float[3] }, { "n", [2], new int[2] },
        };

        void Refuses(AggregationSession session, ClientUpdate update, string tensor, string sentence)
        {
            RoundRejectedException refused =
                Refused<RoundRejectedException>(() => session.AddAsync(update).GetAwaiter().GetResult(), sentence);
            Assert.That((refused.Fault, refused.ClientId, refused.Tensor), Is.EqualTo((RoundFault.NonFinite, update.Id, tensor)));
        }
    }

    [TestCase(DType.F64, "000000000000f07f"), TestCase(DType.F32, "0000807f"), TestCase(DType.F16, "007c"), TestCase(DType.BF16, "807f")]
    public void ValuesOfEveryTypeAreChecked(DType dtype, string infinity)
    {
        var model = new MemoryModel();
        model.Add(new TensorInfo("w", dtype, new TensorShape(2)),
            (byte[])[.. new byte[infinity.Length / 2], .. Convert.FromHexString(infinity)]);
        using AggregationSession session =
            AggregationSession.Create(Place, Models.Of("w", [2], 0, 0), arrivals: new SessionOptions { CheckValues = true });
        Refused<RoundRejectedException>(
            () => session.AddAsync(ClientUpdate.FromTensors("a", model)).GetAwaiter().GetResult(),
            "Client 'a': tensor 'w' has 1 value that is NaN or infinite; finite values were expected.");
    }

    /// <summary>
    /// On arrival, policies that would drop a client refuse its update; a policy that notes a fault does not.
    /// </summary>
    [Test]
    public async Task EveryPolicyIsStrictOnArrival()
    {
        var options = new RoundOptions
        {
            OnWeight = FaultPolicy.DropClient,
            OnUnreadable = FaultPolicy.DropClient,
            OnChanged = FaultPolicy.DropClient,
            OnBase = FaultPolicy.DropClient,
            OnConfig = ConfigPolicy.DropClient,
            OnQuantized = QuantizedPolicy.DropClient,
            Round = 7,
            Quorum = 1,
        };
        using AggregationSession session = AggregationSession.Create(Place, Global, options);
        await session.AddAsync(ClientUpdate.FromTensors("stale",
            Models.Random(2, metadata: new Dictionary<string, string> { ["round"] = "6" }), 1));
        Assert.That(async () => await session.AddAsync(ClientUpdate.FromTensors("a", new ChangedSource(), 1)),
            Throws.TypeOf<RoundRejectedException>()
            .With.Property("Fault").EqualTo(RoundFault.Changed).And.Message.EqualTo("Client 'a': 'upload' was changed."));
        Assert.That(Directory.GetFileSystemEntries(Place), Has.Length.EqualTo(2));
    }

    /// <summary>A source like a file that another program changes while it is copied.</summary>
    private sealed class ChangedSource : TensorSource
    {
        public override IReadOnlyList<TensorInfo> Tensors => Global.Tensors;

        public override string Location => "memory";

        public override void Read(TensorInfo tensor, long offset, Span<byte> destination) =>
            throw new ChangedModelException("'upload' was changed.");
    }
}
