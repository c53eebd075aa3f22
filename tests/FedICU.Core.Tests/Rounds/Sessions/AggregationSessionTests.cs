using System.Diagnostics;
using System.Security.Cryptography;
using System.Text;
using CsCheck;
using FedICU.Errors;
using FedICU.Files;
using FedICU.TestChild;
using FedICU.Tests.Files;

namespace FedICU.Tests;

/// <summary>Updates that arrive over hours: the bits of the batch round, retractions, restarts, crashes, damage.</summary>
internal sealed class AggregationSessionTests
{
    private const string Config = """{"peft_type":"LORA","r":1,"lora_alpha":2}""";

    private static readonly MemoryModel Global = Models.Random(1);
    private static readonly string Digest = ModelDigest.Compute(Global);

    private TempFolder _folder = null!;

    [SetUp]
    public void SetUp() => _folder = new TempFolder();

    [TearDown]
    public void TearDown() => _folder.Dispose();

    private string Place => _folder["session"];

    private string Journal => Path.Combine(Place, "session.journal");

    private static IAggregator[] Aggregators => [new FedAvgAggregator(), new FedProxAggregator(), new FedIcuAggregator()];

    /// <summary>A client of every kind of update: types, full, delta and packed, weights from the caller and from the metadata.</summary>
    private static readonly ClientUpdate[] Clients =
    [
        ClientUpdate.FromTensors("f32", Models.Random(2), 10),
        ClientUpdate.FromTensors("bf16", Models.Random(3, DType.BF16), 0.1),
        ClientUpdate.FromTensors("f16", Models.Random(4, DType.F16, metadata: new Dictionary<string, string> { ["num_examples"] = "1e3", ["round"] = "7" })),
        ClientUpdate.FromTensors("delta", Models.Random(5, scale: 0.1), 1.0 / 3, UpdateKind.Delta, Digest),
        ClientUpdate.FromTensors("../sparse/ü\n", Sparse(6)),
        ClientUpdate.FromTensors("weightless", Models.Random(7), 0),
    ];

    private static ClientUpdate Client(string id, int seed = 2) => ClientUpdate.FromTensors(id, Models.Random(seed), 1);

    private static MemoryModel Sparse(int seed)
    {
        var sink = new MemorySink();
        new FedIcuClient().CreateUpdate(Global, Models.Random(seed, metadata: new Dictionary<string, string> { ["num_examples"] = "77" }), sink);
        return sink.Model;
    }

    private static byte[] Bits(IAggregator aggregator, AggregationRound round)
    {
        using var sink = new MemorySink();
        aggregator.AggregateAsync(round, sink).GetAwaiter().GetResult();
        return Models.AllBytes(sink.Model);
    }

    private static byte[] Batch(IAggregator aggregator, IEnumerable<ClientUpdate> clients, RoundOptions? options = null)
    {
        var round = new AggregationRound(Global, options ?? new RoundOptions());
        foreach (ClientUpdate client in clients)
            round.Add(client);
        return Bits(aggregator, round);
    }

    private static T Refused<T>(Func<object?> what, string sentence) where T : FedIcuException
    {
        T refused = Assert.Throws<T>(() => what())!;
        Assert.That(refused.Message, Is.EqualTo(sentence));
        return refused;
    }

    private string Only(string client)
    {
        using AggregationSession session = AggregationSession.Open(Place, Global);
        return session.Updates.Single(update => update.Id == client).Path!;
    }

    /// <summary>Random adds, retractions and restarts in any order: what remains gives the bits of the batch round over it.</summary>
    [Test]
    public void AnyOrderOfArrivalRetractionAndRestartGivesTheBitsOfTheBatch() =>
        Gen.Select(Gen.Int[0, Clients.Length - 1], Gen.Int[0, 9]).Array[1, 24].Sample(steps =>
        {
            using var folder = new TempFolder();
            var there = new HashSet<int>();
            AggregationSession session = AggregationSession.Create(folder.FullName, Global);
            try
            {
                foreach ((int client, int what) in steps)
                {
                    if (there.Add(client))
                    {
                        session.AddAsync(Clients[client]).GetAwaiter().GetResult();
                    }
                    else if (what < 6)
                    {
                        session.Retract(Clients[client].Id);
                        there.Remove(client);
                    }

                    if (what == 9)
                    {
                        session.Dispose();
                        session = AggregationSession.Open(folder.FullName, Global);
                    }
                }

                Assert.That(session.Updates.Select(update => update.Id), Is.EqualTo(there.Select(client => Clients[client].Id).Order(StringComparer.Ordinal)));
                Assert.That(Directory.GetFileSystemEntries(folder.FullName), Has.Length.EqualTo(1 + there.Count), "a file for each client, and the journal");
                if (there.Any(client => Clients[client].Id != "weightless"))
                {
                    foreach (IAggregator aggregator in Aggregators)
                        Assert.That(Bits(aggregator, session.ToRound()), Is.EqualTo(Batch(aggregator, there.Select(client => Clients[client]))), aggregator.Name);
                }
            }
            finally
            {
                session.Dispose();
            }
        }, iter: 40);

    [Test]
    public void EveryPermutationGivesTheBitsOfTheBatch()
    {
        ClientUpdate[] clients = Clients[..4];
        byte[] expected = Batch(new FedAvgAggregator(), clients);
        foreach (ClientUpdate[] order in Permutations(clients))
        {
            using AggregationSession session = AggregationSession.Create(Place, Global);
            foreach (ClientUpdate client in order)
                session.AddAsync(client).GetAwaiter().GetResult();
            Assert.That(Bits(new FedAvgAggregator(), session.ToRound()), Is.EqualTo(expected));
            session.Delete();
            Assert.That(Directory.Exists(Place), Is.False);
        }

        static IEnumerable<ClientUpdate[]> Permutations(ClientUpdate[] items) => items.Length == 0
            ? [[]]
            : items.SelectMany((item, i) => Permutations([.. items[..i], .. items[(i + 1)..]]).Select(rest => (ClientUpdate[])[item, .. rest]));
    }

    [Test]
    public async Task UpdatesStayAsTheyWereSent()
    {
        using AggregationSession session = AggregationSession.Create(Place, Global);
        foreach (ClientUpdate client in Clients)
        {
            ClientUpdate spooled = await session.AddAsync(client);
            using TensorSource copy = spooled.Open(new RoundFiles()).Source;
            TestModels.AssertSame(copy, client.Open(new RoundFiles()).Source);
        }

        Assert.That(session.Updates.Select(update => (update.Id, update.Weight, update.Kind, update.BaseDigest)), Is.EqualTo(new (string, double?, UpdateKind?, string?)[]
        {
            ("../sparse/ü\n", 77, UpdateKind.Sparse, Digest),
            ("bf16", 0.1, UpdateKind.Full, null),
            ("delta", 1.0 / 3, UpdateKind.Delta, Digest),
            ("f16", 1000, UpdateKind.Full, null),
            ("f32", 10, UpdateKind.Full, null),
            ("weightless", 0, UpdateKind.Full, null),
        }));
        Assert.That(session.BaseDigest, Is.EqualTo(Digest));
    }

    [Test]
    public async Task TheSendersFileIsFree()
    {
        Models.Random(2).SaveTo(TensorSink.ToFile(_folder["a.safetensors"]));
        using AggregationSession session = AggregationSession.Create(Place, Global);
        await session.AddAsync(ClientUpdate.FromFile("a", _folder["a.safetensors"], 3));
        File.Delete(_folder["a.safetensors"]);
        Assert.That(Bits(new FedAvgAggregator(), session.ToRound()), Is.EqualTo(Batch(new FedAvgAggregator(), [Client("a")])));
    }

    [Test]
    public async Task AdaptersKeepTheirConfigs()
    {
        Put("global", Config);
        Put("good", Config);
        Put("other", Config.Replace("\"r\":1", "\"r\":4", StringComparison.Ordinal));
        using PeftAdapter global = PeftAdapter.Open(_folder["global"]);
        using (AggregationSession session = AggregationSession.Create(Place, global))
        {
            await session.AddAsync(ClientUpdate.FromFile("good", _folder["good"]));
            Assert.That(async () => await session.AddAsync(ClientUpdate.FromFile("other", _folder["other"])), Throws.TypeOf<RoundRejectedException>()
                .With.Message.StartsWith($"Client 'other' ('{_folder["other"]}'): its adapter_config.json disagrees with the global adapter's: r "));
        }

        using (AggregationSession session = AggregationSession.Open(Place, global))
        {
            using var copy = (PeftAdapter)session.Updates[0].Open(new RoundFiles()).Source;
            Assert.That(Encoding.UTF8.GetString(copy.Config.RawJson.Span), Is.EqualTo(Config));
            await new FedAvgAggregator().AggregateAsync(session.ToRound(), TensorSink.Discard);
        }

        File.AppendAllText(Path.Combine(Only("good", global), "adapter_config.json"), " ");
        Assert.That(() => AggregationSession.Open(Place, global), Throws.TypeOf<RoundRejectedException>().With.Message.StartsWith("Client 'good': '"));

        string Only(string client, TensorSource model)
        {
            using AggregationSession session = AggregationSession.Open(Place, model);
            return session.Updates.Single(update => update.Id == client).Path!;
        }

        void Put(string name, string config) => Global.SaveTo(TensorSink.ToAdapterFolder(_folder[name], PeftAdapterConfig.Parse(Encoding.UTF8.GetBytes(config), "test")));
    }

    /// <summary>The same sentence as the round's, and nothing is left of the update: the client may send a better one.</summary>
    [Test]
    public async Task AFaultIsRefusedWhenItArrives()
    {
        var shape = new MemoryModel();
        foreach (TensorInfo tensor in Global.Tensors)
        {
            TensorInfo other = tensor.Name == "norm.weight" ? tensor with { Shape = new TensorShape(32) } : tensor;
            shape.Add(other, new byte[other.ByteLength]);
        }

        _folder.Put("text.safetensors", "no model"u8);
        ClientUpdate[] faulty =
        [
            ClientUpdate.FromTensors("a", shape, 1),
            ClientUpdate.FromTensors("a", Models.Of("extra", [1], 0), 1),
            ClientUpdate.FromTensors("a", Models.Random(2), -1),
            ClientUpdate.FromTensors("a", Models.Random(2, metadata: new Dictionary<string, string> { ["num_examples"] = "many" })),
            ClientUpdate.FromTensors("a", Models.Random(2), 1, UpdateKind.Delta, "sha256:0"),
            ClientUpdate.FromTensors("a", Models.Random(2), 1, UpdateKind.Sparse),
            ClientUpdate.FromFile("a", _folder["missing.safetensors"]),
            ClientUpdate.FromFile("a", _folder["text.safetensors"]),
        ];
        foreach (FaultPolicy policy in new[] { FaultPolicy.Reject, FaultPolicy.DropClient })
        {
            var options = new RoundOptions { OnMissing = policy, OnShape = policy, OnExtra = policy, OnBase = policy, OnUnreadable = policy };
            using AggregationSession session = AggregationSession.Create(Place, Global, options);
            foreach (ClientUpdate client in faulty)
            {
                var inRound = Assert.ThrowsAsync<RoundRejectedException>(() => new FedAvgAggregator().AggregateAsync(new AggregationRound(Global) { client }, TensorSink.Discard))!;
                RoundRejectedException refused = Refused<RoundRejectedException>(() => session.AddAsync(client).GetAwaiter().GetResult(), inRound.Message);
                Assert.That((refused.Fault, refused.ClientId, refused.Tensor), Is.EqualTo((inRound.Fault, inRound.ClientId, inRound.Tensor)));
            }

            Assert.That(Directory.GetFileSystemEntries(Place), Has.Length.EqualTo(1));
            await session.AddAsync(Client("a"));
            session.Delete();
        }
    }

    [Test]
    public async Task ATensorThatThePolicyDropsIsTakenAndDroppedByTheRound()
    {
        ClientUpdate[] clients = [Client("a"), ClientUpdate.FromTensors("b", Models.Of("extra", [1], 0), 1)];
        var options = new RoundOptions { OnMissing = FaultPolicy.DropTensor, OnExtra = FaultPolicy.DropTensor };
        using AggregationSession session = AggregationSession.Create(Place, Global, options);
        foreach (ClientUpdate client in clients)
            await session.AddAsync(client);
        Assert.That(Bits(new FedAvgAggregator(), session.ToRound()), Is.EqualTo(Batch(new FedAvgAggregator(), clients, options)));
    }

    [Test]
    public async Task AClientComesOnceAndARetractedOneMayComeAgain()
    {
        using AggregationSession session = AggregationSession.Create(Place, Global);
        await session.AddAsync(Client("a", 2));
        Refused<RoundRejectedException>(() => session.AddAsync(Client("a", 3)).GetAwaiter().GetResult(), "Client 'a' was added twice; ids must be unique.");
        session.Retract("a");
        Assert.That(() => session.Retract("a"), Throws.TypeOf<RoundRejectedException>().With.Message.EqualTo("Client 'a' has no update in the session."));
        await session.AddAsync(Client("a", 3));
        Assert.That(Bits(new FedAvgAggregator(), session.ToRound()), Is.EqualTo(Batch(new FedAvgAggregator(), [Client("a", 3)])));
        Assert.That(async () => await session.AddAsync(Client("\ud800")), Throws.TypeOf<RoundRejectedException>().With.Message.Contains("half of a surrogate pair"));
        using var cancelled = new CancellationTokenSource();
        cancelled.Cancel();
        Assert.That(async () => await session.AddAsync(Client("b"), cancelled.Token), Throws.InstanceOf<OperationCanceledException>());
    }

    [Test]
    public async Task ManyThreadsAdd()
    {
        using (AggregationSession session = AggregationSession.Create(Place, Global))
        {
            // every client from two threads: one of the two is refused
            int twice = 0;
            await Parallel.ForEachAsync(Enumerable.Range(0, 80), new ParallelOptions { MaxDegreeOfParallelism = 8 }, async (i, stop) =>
            {
                try
                {
                    await session.AddAsync(Client($"{i / 2}", i / 2), stop);
                }
                catch (RoundRejectedException)
                {
                    Interlocked.Increment(ref twice);
                }
            });
            Assert.That((session.Updates.Count, twice), Is.EqualTo((40, 40)));
        }

        using AggregationSession again = AggregationSession.Open(Place, Global);
        Assert.That(Bits(new FedAvgAggregator(), again.ToRound()), Is.EqualTo(Batch(new FedAvgAggregator(), Enumerable.Range(0, 40).Select(i => Client($"{i}", i)))));
    }

    [Test]
    public async Task ACollectorTakesUpWhatASessionKept()
    {
        using AggregationSession session = AggregationSession.Create(Place, Global);
        await session.AddAsync(Client("a"));
        using var collector = new RoundCollector(Global, new RoundCollectorOptions { ExpectedClients = 2 });
        foreach (ClientUpdate update in session.Updates)
            collector.Add(update);
        collector.Add(await session.AddAsync(Client("b", 3)));
        Assert.That(Bits(new FedAvgAggregator(), await collector.CompleteAsync()), Is.EqualTo(Batch(new FedAvgAggregator(), [Client("a"), Client("b", 3)])));
    }

    [Test]
    public async Task UpdatesKnowTheOrderOfTheirArrivalAfterARestart()
    {
        using (AggregationSession session = AggregationSession.Create(Place, Global))
        {
            foreach (string id in (string[])["c", "a", "d"])
                await session.AddAsync(Client(id));
            session.Retract("a");
            await session.AddAsync(Client("b"));
            await session.AddAsync(Client("a"));
            Check(session);
        }

        using AggregationSession again = AggregationSession.Open(Place, Global);
        Check(again);
        Assert.That(again.Updates.Select(update => update.Id), Is.EqualTo(new[] { "a", "b", "c", "d" }));

        static void Check(AggregationSession session) => Assert.That(
            session.Arrivals.Select(arrival => $"{arrival.Number}{arrival.Update.Id}{arrival.InTime}"), Is.EqualTo(new[] { "1cTrue", "3dTrue", "4bTrue", "5aTrue" }));
    }

    [Test]
    public async Task WhatArrivesAfterTheRoundWasClosedIsLateAlsoAfterARestart()
    {
        using (AggregationSession session = AggregationSession.Create(Place, Global))
        {
            await session.AddAsync(Client("b", 2));
            session.CloseRound();
            session.CloseRound();
            await session.AddAsync(Client("a", 3));
            Check(session);
        }

        using (AggregationSession session = AggregationSession.Open(Place, Global))
        {
            Check(session);
            session.Retract("b");
            await session.AddAsync(Client("b", 2));
            Assert.That(session.Arrivals.Select(arrival => arrival.InTime), Is.All.False, "a client that sends again is late");
        }

        static void Check(AggregationSession session)
        {
            Assert.That(session.IsRoundClosed);
            Assert.That(session.Arrivals.Select(arrival => (arrival.Update.Id, arrival.InTime)), Is.EqualTo(new[] { ("b", true), ("a", false) }));
            Assert.That(session.ToRound().Updates.Select(update => update.Id), Is.EqualTo(new[] { "b" }));
        }
    }

    /// <summary>The first update fixes whether weights are stated, before a restart and after it.</summary>
    [Test]
    public async Task AWeightIsExpectedOfAllOrOfNone([Values] bool weighted, [Values] bool restart)
    {
        ClientUpdate first = ClientUpdate.FromTensors("z", Models.Random(2), weighted ? 5 : null), other = ClientUpdate.FromTensors("a", Models.Random(3), weighted ? null : 5);
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
                weighted ? "Client 'a' states no num_examples where client 'z' does; a weight was expected."
                    : "Client 'a' has the weight 5 where client 'z' states none; an update without num_examples was expected.");
            Assert.That((refused.Fault, refused.ClientId), Is.EqualTo((RoundFault.Weight, "a")));
            Assert.That(Directory.GetFileSystemEntries(Place), Has.Length.EqualTo(2), "nothing is left of it");

            session.Retract("z");
            await session.AddAsync(other);
            Assert.That(session.Updates.Single().Id, Is.EqualTo("a"), "without the first nothing is expected");
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

    /// <summary>Of two that arrive at once, one with a weight and one without, one is in the session.</summary>
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

    [TestCase("-5"), TestCase("nan"), TestCase("inf"), TestCase("-inf"), TestCase("1e999"), TestCase("9007199254740994"), TestCase("many"), TestCase("")]
    public async Task AWeightThatCannotBeUsedIsRefusedOnArrival(string stated)
    {
        // whatever the policy: the sender is still there
        using AggregationSession session = AggregationSession.Create(Place, Global, new RoundOptions { OnWeight = FaultPolicy.DropClient, Quorum = 1 });
        await session.AddAsync(Client("good"));
        Assert.That(
            async () => await session.AddAsync(ClientUpdate.FromTensors("bad", Models.Random(3, metadata: new Dictionary<string, string> { ["num_examples"] = stated }))),
            Throws.TypeOf<RoundRejectedException>().With.Message.Contains("'bad'").And.Property("ClientId").EqualTo("bad"));
        if (double.TryParse(stated, out double weight))
            Assert.That(async () => await session.AddAsync(ClientUpdate.FromTensors("bad", Models.Random(3), weight)), Throws.TypeOf<RoundRejectedException>().With.Property("ClientId").EqualTo("bad"));
        Assert.That(session.Updates.Select(update => update.Id), Is.EqualTo(new[] { "good" }));
        await new FedAvgAggregator().AggregateAsync(session.ToRound(), TensorSink.Discard);
    }

    [Test]
    public async Task AWeightWithWhichTheSumOverflowsIsRefusedOnArrival()
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

    /// <summary>Every type and form, at the first and the last element and across pieces of a copy.</summary>
    [Test]
    public async Task ValuesAreCheckedOnArrivalWhereAsked()
    {
        var global = new MemoryModel { { "a", [300_000], new double[300_000] }, { "b", [3], new float[3] }, { "n", [2], new int[2] } };
        var large = new double[300_000];
        (large[0], large[131_072], large[^1]) = (double.NaN, double.PositiveInfinity, double.NegativeInfinity);
        ClientUpdate bad = ClientUpdate.FromTensors("bad", new MemoryModel { { "a", [300_000], large }, { "b", [3], new float[3] }, { "n", [2], [-1, int.MaxValue] } });
        ClientUpdate delta = ClientUpdate.FromTensors(
            "delta", new MemoryModel { { "a", [300_000], new double[300_000] }, { "b", [3], new float[] { 1, float.NaN, 1 } }, { "n", [2], new int[2] } }, kind: UpdateKind.Delta);
        ClientUpdate extra = ClientUpdate.FromTensors(
            "extra", new MemoryModel { { "a", [300_000], new double[300_000] }, { "b", [3], new float[3] }, { "n", [2], new int[2] }, { "more", [1], new[] { float.NaN } } });
        ClientUpdate sparse = ClientUpdate.FromTensors("sparse", Packed());
        var check = new SessionOptions { CheckValues = true };
        foreach (FaultPolicy policy in (FaultPolicy[])[FaultPolicy.Reject, FaultPolicy.DropClient])
        {
            using AggregationSession session = AggregationSession.Create(Place, global, new RoundOptions { OnNonFinite = policy, OnExtra = FaultPolicy.DropTensor, Quorum = 1 }, check);
            Refuses(session, bad, "a", "Client 'bad': tensor 'a' has 3 values that are NaN or infinite; finite values were expected.");
            Refuses(session, delta, "b", "Client 'delta': tensor 'b' has 1 value that is NaN or infinite; finite values were expected.");
            Refuses(session, sparse, "a", "Client 'sparse': tensor 'a' has 1 value that is NaN or infinite; finite values were expected.");
            Assert.That(Directory.GetFileSystemEntries(Place), Has.Length.EqualTo(1), "nothing is left");
            await session.AddAsync(extra);
            session.Delete();
        }

        foreach ((FaultPolicy policy, SessionOptions? arrivals) in (IEnumerable<(FaultPolicy, SessionOptions?)>)[(FaultPolicy.DropTensor, check), (FaultPolicy.Reject, null)])
        {
            using AggregationSession session = AggregationSession.Create(Place, global, new RoundOptions { OnNonFinite = policy }, arrivals);
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
            { "a#values", [1], (double[])[double.NaN] }, { "a#mask", [37_500], (byte[])[0x80, .. new byte[37_499]] }, { "b", [3], new float[3] }, { "n", [2], new int[2] },
        };

        void Refuses(AggregationSession session, ClientUpdate update, string tensor, string sentence)
        {
            RoundRejectedException refused = Refused<RoundRejectedException>(() => session.AddAsync(update).GetAwaiter().GetResult(), sentence);
            Assert.That((refused.Fault, refused.ClientId, refused.Tensor), Is.EqualTo((RoundFault.NonFinite, update.Id, tensor)));
        }
    }

    [TestCase(DType.F64, "000000000000f07f"), TestCase(DType.F32, "0000807f"), TestCase(DType.F16, "007c"), TestCase(DType.BF16, "807f")]
    public void ValuesOfEveryTypeAreChecked(DType dtype, string infinity)
    {
        var model = new MemoryModel();
        model.Add(new TensorInfo("w", dtype, new TensorShape(2)), (byte[])[.. new byte[infinity.Length / 2], .. Convert.FromHexString(infinity)]);
        using AggregationSession session = AggregationSession.Create(Place, Models.Of("w", [2], 0, 0), arrivals: new SessionOptions { CheckValues = true });
        Refused<RoundRejectedException>(
            () => session.AddAsync(ClientUpdate.FromTensors("a", model)).GetAwaiter().GetResult(),
            "Client 'a': tensor 'w' has 1 value that is NaN or infinite; finite values were expected.");
    }

    /// <summary>Policies that would drop a client from a round refuse it on arrival; a note stays a note.</summary>
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
        await session.AddAsync(ClientUpdate.FromTensors("stale", Models.Random(2, metadata: new Dictionary<string, string> { ["round"] = "6" }), 1));
        Assert.That(async () => await session.AddAsync(ClientUpdate.FromTensors("a", new ChangedSource(), 1)), Throws.TypeOf<RoundRejectedException>()
            .With.Property("Fault").EqualTo(RoundFault.Changed).And.Message.EqualTo("Client 'a': 'upload' was changed."));
        Assert.That(Directory.GetFileSystemEntries(Place), Has.Length.EqualTo(2));
    }

    /// <summary>A file that another program changes while it is copied.</summary>
    private sealed class ChangedSource : TensorSource
    {
        public override IReadOnlyList<TensorInfo> Tensors => Global.Tensors;

        public override string Location => "memory";

        public override void Read(TensorInfo tensor, long offset, Span<byte> destination) => throw new ChangedModelException("'upload' was changed.");
    }

    /// <summary>
    /// A process killed at any moment: every client of which it was said that it was added is there, whole; what was retracted is not; and the next process goes on.
    /// </summary>
    [Test]
    [CancelAfter(180_000)]
    public void KillLosesNoClientThatWasAdded()
    {
        var random = new Random(5);
        var said = new HashSet<string>();
        for (int kill = 0; kill < 8; kill++)
        {
            using Process child = CrashTests.Start("session-forever", Place);
            said.Add(child.StandardOutput.ReadLine()!);
            Thread.Sleep(random.Next(80));
            child.Kill();
            string[] lines = child.StandardOutput.ReadToEnd().Split('\n');
            child.WaitForExit();
            // what follows the last end of a line was cut
            said.UnionWith(lines[..^1]);

            using AggregationSession session = AggregationSession.Open(Place, Sessions.Global);
            string[] ids = [.. session.Updates.Select(update => update.Id)];
            Assert.That(ids, Is.SupersetOf(said.Where(line => line[0] == '+' && int.Parse(line[1..]) % 3 != 0).Select(line => line[1..])));
            Assert.That(ids.Select(id => "-" + id), Has.None.AnyOf([.. said]));
            Assert.That(Directory.GetFileSystemEntries(Place), Has.Length.EqualTo(1 + ids.Length), "what the crash left is removed");
            (_, MemorySink batch) = Models.Run(new FedAvgAggregator(), Sessions.Global, ids.Select(id => ClientUpdate.FromTensors(id, Sessions.Model(int.Parse(id)), int.Parse(id))));
            using (batch)
                Assert.That(Bits(new FedAvgAggregator(), session.ToRound()), Is.EqualTo(Models.AllBytes(batch.Model)));
        }

        TestContext.Out.WriteLine($"{said.Count(line => line[0] == '+')} added in 8 processes");
    }

    /// <summary>
    /// A server with a collector, killed at any moment: whom it told that he was in time or late stays so, and so do all others.
    /// </summary>
    [Test]
    [CancelAfter(180_000)]
    public void KillChangesNobodysLateness()
    {
        var random = new Random(6);
        var said = new HashSet<string>();
        SessionArrival[] before = [];
        for (int kill = 0; kill < 8; kill++)
        {
            using Process child = CrashTests.Start("collect-forever", Place);
            said.Add(child.StandardOutput.ReadLine()!);
            Thread.Sleep(random.Next(60));
            child.Kill();
            said.UnionWith(child.StandardOutput.ReadToEnd().Split('\n')[..^1]);
            child.WaitForExit();

            using AggregationSession session = AggregationSession.Open(Place, Sessions.Global);
            SessionArrival[] now = [.. session.Arrivals];
            Assert.That(now.Take(before.Length).Select(Key), Is.EqualTo(before.Select(Key)), "the order and lateness of earlier arrivals");
            Assert.That(now.Select(arrival => $"{arrival.InTime} {arrival.Update.Id}"), Is.SupersetOf(said));
            Assert.That(session.ToRound().Updates, Has.Count.EqualTo(Math.Min(now.Length, Sessions.Expected)));
            before = now;
        }

        Assert.That(before, Has.Length.GreaterThan(Sessions.Expected), "some were late");
        using AggregationSession last = AggregationSession.Open(Place, Sessions.Global);
        using var collector = RoundCollector.Over(last, new RoundCollectorOptions { ExpectedClients = Sessions.Expected });
        Assert.That(
            collector.CompleteAsync().GetAwaiter().GetResult().Updates.Select(update => update.Id),
            Is.EquivalentTo(before.Take(Sessions.Expected).Select(arrival => arrival.Update.Id)));

        static (long, string, bool) Key(SessionArrival arrival) => (arrival.Number, arrival.Update.Id, arrival.InTime);
    }

    /// <summary>The journal cut at every byte: the lines that are whole count, and what the others spoke of is removed.</summary>
    [Test]
    public async Task AJournalCutAnywhereOpensWithItsWholeLines()
    {
        using (AggregationSession session = AggregationSession.Create(Place, Global))
        {
            await session.AddAsync(Client("a"));
            session.Retract("a");
            await session.AddAsync(Client("b"));
        }

        byte[] whole = File.ReadAllBytes(Journal);
        byte[] b = File.ReadAllBytes(Only("b"));
        string name = Path.GetFileName(Only("b"));
        int first = Array.IndexOf(whole, (byte)'\n') + 1;
        for (int length = 0; length < whole.Length; length += length < first || length > whole.Length - 70 ? 1 : 37)
        {
            File.WriteAllBytes(Journal, whole[..length]);
            File.WriteAllBytes(Path.Combine(Place, name), b);
            if (length < first)
            {
                Refused<FedIcuException>(() => AggregationSession.Open(Place, Global), $"The folder '{Place}' holds no session.");
            }
            else if (whole[..length].Count(value => value == '\n') == 2)
            {
                // a was added, and its file is gone
                Assert.That(() => AggregationSession.Open(Place, Global), Throws.TypeOf<RoundRejectedException>().With.Message.Contains("'a'").And.Message.Contains("does not exist"));
                continue;
            }

            using (AggregationSession session = AggregationSession.OpenOrCreate(Place, Global))
            {
                Assert.That(session.Updates, Is.Empty);
                Assert.That(Directory.GetFileSystemEntries(Place), Has.Length.EqualTo(1));
                await session.AddAsync(Client("c"));
            }

            using AggregationSession again = AggregationSession.Open(Place, Global);
            Assert.That(again.Updates.Single().Id, Is.EqualTo("c"));
            again.Retract("c");
        }
    }

    [Test]
    public async Task AJournalThatWasChangedIsRefused()
    {
        using (AggregationSession session = AggregationSession.Create(Place, Global))
        {
            await session.AddAsync(Client("a"));
            await session.AddAsync(Client("b"));
        }

        byte[] whole = File.ReadAllBytes(Journal);
        int second = Array.IndexOf(whole, (byte)'\n') + 1, third = second + Array.IndexOf(whole[second..], (byte)'\n') + 1;
        Gen.Select(Gen.Int[0, whole.Length - 1], Gen.Byte[1, 255]).Sample((at, flip) =>
        {
            byte[] changed = [.. whole];
            changed[at] ^= flip;
            File.WriteAllBytes(Journal, changed);
            Assert.That(() => AggregationSession.Open(Place, Global), Throws.TypeOf<InvalidModelException>().With.Message.Match($"^'{Journal}' is damaged: line [123] does not agree with its checksum.$"));
        }, threads: 1);
        File.WriteAllBytes(Journal, [.. whole[..second], .. whole[third..]]);
        Refused<InvalidModelException>(() => AggregationSession.Open(Place, Global), $"'{Journal}' is damaged: line 2 does not agree with its checksum.");
        Assert.That(Directory.GetFileSystemEntries(Place), Has.Length.EqualTo(3), "nothing is removed");
    }

    /// <summary>
    /// Lines with the right checksums that this version would not write: a sentence that names the line, before anything is read or
    /// removed.
    /// </summary>
    [TestCase("""{"add":"a","kind":"Full","file":"../update-1.safetensors","length":1,"digest":"x"}""", "line 2 has the file '../update-1.safetensors'; a name that a session gives was expected.")]
    [TestCase("""{"add":"a","kind":"Full","file":"update-/../../x","length":1,"digest":"x"}""", "line 2 has the file 'update-/../../x'; a name that a session gives was expected.")]
    [TestCase("""{"add":"a","kind":"Full","file":"session.journal","length":1,"digest":"x"}""", "line 2 has the file 'session.journal'; a name that a session gives was expected.")]
    [TestCase("""{"add":"a","kind":"Full","file":"update-0123456789ABCDEF","length":1,"digest":"x"}""", "line 2 has the file 'update-0123456789ABCDEF'; a name that a session gives was expected.")]
    [TestCase("""{"add":"a","kind":"Full","length":1,"digest":"x"}""", "line 2 has the file null; a name that a session gives was expected.")]
    [TestCase("""{"add":"a"}""", "line 2 has the kind null; Full, Delta or Sparse was expected.")]
    [TestCase("""{"add":"a","kind":"diff","file":"update-0123456789abcdef","length":1,"digest":"x"}""", "line 2 has the kind 'diff'; Full, Delta or Sparse was expected.")]
    [TestCase("""{"add":"a","kind":"Full, Delta","file":"update-0123456789abcdef","length":1,"digest":"x"}""", "line 2 has the kind 'Full, Delta'; Full, Delta or Sparse was expected.")]
    [TestCase("""{"add":"a","kind":"7","file":"update-0123456789abcdef","length":1,"digest":"x"}""", "line 2 has the kind '7'; Full, Delta or Sparse was expected.")]
    [TestCase("""{"add":"a","kind":"Full","file":"update-0123456789abcdef","length":-1,"digest":"x"}""", "line 2 has the length -1; 0 or more was expected.")]
    [TestCase("""{"add":"a","kind":"Full","file":"update-0123456789abcdef","digest":"x"}""", "line 2 has the length null; 0 or more was expected.")]
    [TestCase("""{"add":"a","kind":"Full","file":"update-0123456789abcdef","length":1}""", "line 2 has no checksum of the update's bytes.")]
    [TestCase("""{"add":"","kind":"Full","file":"update-0123456789abcdef","length":1,"digest":"x"}""", "line 2 adds a client without an id.")]
    [TestCase("""{"retract":"a"}""", "line 2 retracts a client that is not there.")]
    [TestCase("""{}""", "line 2 does not say one of: a client was added, a client was retracted, the round was closed.")]
    [TestCase("""{"add":"a","retract":"a"}""", "line 2 does not say one of: a client was added, a client was retracted, the round was closed.")]
    [TestCase("""{"session":2,"base":"x"}""", "line 2 does not say one of: a client was added, a client was retracted, the round was closed.")]
    public void AJournalThatContradictsItselfIsRefused(string json, string why) =>
        Refused<InvalidModelException>(() => OpenWithLine(json), $"The session in '{Place}' has a journal that contradicts itself: {why}");

    [TestCase("""{"added":"a"}""")]
    [TestCase("""{"add":"a","kind":7,"file":"update-0123456789abcdef","length":1,"digest":"x"}""")]
    [TestCase("""{"add":"a","add":"b","kind":"Full","file":"update-0123456789abcdef","length":1,"digest":"x"}""")]
    [TestCase("""{"add":"\ud800","kind":"Full","file":"update-0123456789abcdef","length":1,"digest":"x"}""")]
    [TestCase("""{"add":"a","kind":"Full","file":"update-0123456789abcdef","length":1e99,"digest":"x"}""")]
    [TestCase("""{"closed":"yesterday"}""")]
    [TestCase("null")]
    [TestCase("[]")]
    [TestCase("")]
    public void ALineThatThisVersionDoesNotWriteIsRefused(string json) =>
        Refused<InvalidModelException>(() => OpenWithLine(json), $"'{Journal}': line 2 is none that this version of the library writes.");

    [Test]
    public async Task AFileOfTwoClientsIsRefused()
    {
        using (AggregationSession session = AggregationSession.Create(Place, Global))
            await session.AddAsync(Client("a"));
        string line = File.ReadAllLines(Journal)[1];
        Refused<InvalidModelException>(
            () => OpenWithLine(line[65..].Replace("\"add\":\"a\"", "\"add\":\"b\"", StringComparison.Ordinal)),
            $"The session in '{Place}' has a journal that contradicts itself: line 3 adds a client or a file that is there already.");
    }

    [TestCase("""{"session":3,"base":"x"}""", "has the version 3; 1 to 2 was expected.")]
    [TestCase("""{"session":-1,"base":"x"}""", "has the version -1; 1 to 2 was expected.")]
    [TestCase("""{"base":"x"}""", "has a journal that contradicts itself: line 1 does not say what it was begun over.")]
    [TestCase("""{"session":1}""", "has a journal that contradicts itself: line 1 does not say what it was begun over.")]
    public void ASessionOfAnotherVersionIsRefused(string first, string why)
    {
        Directory.CreateDirectory(Place);
        File.WriteAllText(Journal, Line([], first));
        Assert.That(() => AggregationSession.Open(Place, Global), Throws.InstanceOf<FedIcuException>().With.Message.EqualTo($"The session in '{Place}' {why}"));
    }

    /// <summary>What version 1 wrote: no time of the beginning, updates of clients with and without a weight.</summary>
    [Test]
    public async Task ASessionOfVersion1Opens()
    {
        Directory.CreateDirectory(Place);
        string text = Line([], $$"""{"session":1,"base":"{{Digest}}","round":7}""");
        foreach ((string id, int seed, string weight) in (IEnumerable<(string, int, string)>)[("b", 2, ""), ("a", 3, "\"weight\":5,")])
        {
            string name = $"update-{seed:x16}.safetensors";
            Models.Random(seed).SaveTo(TensorSink.ToFile(Path.Combine(Place, name)));
            byte[] bytes = File.ReadAllBytes(Path.Combine(Place, name));
            byte[] seal = Convert.FromHexString(text.Split('\n')[^2][..64]);
            text += Line(seal, $$"""{"add":"{{id}}",{{weight}}"kind":"Full","file":"{{name}}","length":{{bytes.Length}},"digest":"sha256:{{Convert.ToHexStringLower(SHA256.HashData(bytes))}}"}""");
        }

        File.WriteAllText(Journal, text);
        using AggregationSession session = AggregationSession.Open(Place, Global);
        Assert.That(session.Arrivals.Select(arrival => (arrival.Number, arrival.Update.Id, arrival.Update.Weight, arrival.InTime)), Is.EqualTo(new (long, string, double?, bool)[] { (1, "b", null, true), (2, "a", 5, true) }));
        Assert.That((session.Begun, session.Options.Round, session.IsRoundClosed), Is.EqualTo(((DateTimeOffset?)null, (long?)7, false)));
        session.Retract("b");
        await session.AddAsync(Client("b"));
        Assert.That(Bits(new FedAvgAggregator(), session.ToRound()), Is.EqualTo(Batch(new FedAvgAggregator(), [ClientUpdate.FromTensors("a", Models.Random(3), 5), Client("b")])));
    }

    [Test]
    public void AJournalThatIsAPipeIsRefused()
    {
        Directory.CreateDirectory(Place);
        if (Tools.TryRun("mkfifo", [Journal], out _) != 0)
            Tools.Missing("mkfifo");
        Assert.That(() => AggregationSession.OpenOrCreate(Place, Global), Throws.TypeOf<FedIcuException>().With.Message.EqualTo($"The session's journal '{Journal}' is not a regular file."));
    }

    private AggregationSession OpenWithLine(string json)
    {
        if (!File.Exists(Journal))
            AggregationSession.Create(Place, Global).Dispose();
        File.AppendAllText(Journal, Line(Convert.FromHexString(File.ReadAllLines(Journal)[^1][..64]), json));
        return AggregationSession.Open(Place, Global);
    }

    private static string Line(byte[] seal, string json) => Convert.ToHexStringLower(SHA256.HashData([.. seal, .. Encoding.UTF8.GetBytes(json)])) + " " + json + "\n";

    [Test]
    public async Task ADamagedFileNamesItsClient([Values("cut", "changed", "gone")] string damage)
    {
        using (AggregationSession session = AggregationSession.Create(Place, Global))
        {
            await session.AddAsync(Client("a"));
            await session.AddAsync(Client("b", 3));
        }

        string path = Only("a");
        byte[] bytes = File.ReadAllBytes(path);
        string fault = $"'{path}' does not exist.";
        File.Delete(path);
        if (damage == "cut")
        {
            File.WriteAllBytes(path, bytes[..^1]);
            fault = $"'{path}' has {bytes.Length - 1} bytes; {bytes.Length} were expected.";
        }
        else if (damage == "changed")
        {
            string expected = "sha256:" + Convert.ToHexStringLower(SHA256.HashData(bytes));
            bytes[^1] ^= 1;
            File.WriteAllBytes(path, bytes);
            fault = $"'{path}' is damaged: its bytes have the checksum sha256:{Convert.ToHexStringLower(SHA256.HashData(bytes))}; {expected} was expected.";
        }

        RoundRejectedException refused = Refused<RoundRejectedException>(() => AggregationSession.Open(Place, Global), $"Client 'a': {fault}");
        Assert.That((refused.Fault, refused.ClientId), Is.EqualTo((RoundFault.Unreadable, "a")));

        // the others need not be sent again
        using (AggregationSession session = AggregationSession.Open(Place, Global, new RoundOptions { OnUnreadable = FaultPolicy.DropClient, Quorum = 1 }))
        {
            AggregationResult result = await new FedAvgAggregator().AggregateAsync(session.ToRound(), TensorSink.Discard);
            Assert.That(result.Report.Clients.Single(client => !client.Included).Reason, Is.EqualTo($"Client 'a': {fault}"));
            session.Retract("a");
            await session.AddAsync(Client("a"));
        }

        using AggregationSession again = AggregationSession.Open(Place, Global);
        Assert.That(Bits(new FedAvgAggregator(), again.ToRound()), Is.EqualTo(Batch(new FedAvgAggregator(), [Client("a"), Client("b", 3)])));
    }

    [Test]
    public void AnotherModelOrRoundIsRefused()
    {
        AggregationSession.Create(Place, Global, new RoundOptions { Round = 7 }).Dispose();
        RoundRejectedException refused = Refused<RoundRejectedException>(
            () => AggregationSession.Open(Place, Models.Random(2)),
            $"The session in '{Place}' was begun over the model {Digest}; the global model given is {ModelDigest.Compute(Models.Random(2))}.");
        Assert.That(refused.Fault, Is.EqualTo(RoundFault.Base));
        Refused<RoundRejectedException>(() => AggregationSession.Open(Place, Global, new RoundOptions { Round = 8 }), $"The session in '{Place}' is of round 7; round 8 was given.");
        using AggregationSession session = AggregationSession.Open(Place, Global);
        Assert.That(session.Options.Round, Is.EqualTo(7));
    }

    [Test]
    public void OneSessionOneFolder()
    {
        Refused<FedIcuException>(() => AggregationSession.Open(Place, Global), $"The folder '{Place}' holds no session.");
        using (AggregationSession session = AggregationSession.Create(Place, Global))
        {
            foreach (Func<AggregationSession> start in (Func<AggregationSession>[])
                [() => AggregationSession.Create(Place, Global), () => AggregationSession.Open(Place, Global), () => AggregationSession.OpenOrCreate(Place, Global)])
            {
                Assert.That(() => start(), Throws.TypeOf<FedIcuException>()
                    .With.Message.StartsWith("The session's journal cannot be opened: ").And.Message.Contains(Journal).And.Message.Contains("used by another process"));
            }
        }

        Refused<FedIcuException>(() => AggregationSession.Create(Place, Global), $"The folder '{Place}' holds a session already.");
        Directory.CreateDirectory(_folder["foreign"]);
        string foreign = _folder.Put("foreign/update-1.safetensors", "another's"u8);
        Refused<FedIcuException>(
            () => AggregationSession.OpenOrCreate(_folder["foreign"], Global), $"The folder '{_folder["foreign"]}' holds 'update-1.safetensors' and no session; a session needs a folder of its own.");
        Assert.That(File.Exists(foreign));
        Assert.That(() => AggregationSession.Create(foreign, Global), Throws.TypeOf<FedIcuException>().With.Message.Contains("cannot be created"));
        Assert.That(() => AggregationSession.Create(_folder["other"], Global, new RoundOptions { Quorum = 0 }), Throws.TypeOf<InvalidOptionsException>());
    }

    [Test]
    public async Task AnotherProcessIsRefused()
    {
        using Process child = CrashTests.Start("session-forever", Place);
        child.StandardOutput.ReadLine();
        try
        {
            Assert.That(() => AggregationSession.Open(Place, Sessions.Global), Throws.TypeOf<FedIcuException>().With.Message.Contains("used by another process"));
        }
        finally
        {
            child.Kill();
            await child.WaitForExitAsync();
        }
    }

    [Test]
    public async Task AClosedSessionSaysSoAndADeletedOneIsGone()
    {
        AggregationSession session = AggregationSession.Create(Place, Global);
        await session.AddAsync(Client("a"));
        session.Dispose();
        session.Dispose();
        Assert.That(async () => await session.AddAsync(Client("b")), Throws.TypeOf<ObjectDisposedException>());
        Assert.That(() => session.Retract("a"), Throws.TypeOf<ObjectDisposedException>());
        Assert.That(session.Delete, Throws.TypeOf<ObjectDisposedException>());

        session = AggregationSession.Open(Place, Global);
        File.WriteAllText(Path.Combine(Place, "notes.txt"), "the caller's");
        session.Delete();
        Assert.That(Directory.GetFileSystemEntries(Place).Select(Path.GetFileName), Is.EqualTo(new[] { "notes.txt" }));
        Assert.That(session.Updates, Is.Empty);
    }
}
