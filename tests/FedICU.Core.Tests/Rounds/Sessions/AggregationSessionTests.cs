using CsCheck;
using FedICU.Files;
using FedICU.Tests.Files;

namespace FedICU.Tests;

/// <summary>
/// Updates that arrive over hours: any order, retractions and restarts give the bits of the batch round.
/// </summary>
internal sealed class AggregationSessionTests : SessionFixture
{
    private static IAggregator[] Aggregators => [new FedAvgAggregator(), new FedProxAggregator(), new FedIcuAggregator()];

    /// <summary>
    /// Updates of every kind: several types, full, delta and packed, with weights from the caller and from the
    /// metadata.
    /// </summary>
    private static readonly ClientUpdate[] Clients =
    [
        ClientUpdate.FromTensors("f32", Models.Random(2), 10),
        ClientUpdate.FromTensors("bf16", Models.Random(3, DType.BF16), 0.1),
        ClientUpdate.FromTensors("f16",
            Models.Random(4, DType.F16, metadata: new Dictionary<string, string> { ["num_examples"] = "1e3", ["round"] = "7" })),
        ClientUpdate.FromTensors("delta", Models.Random(5, scale: 0.1), 1.0 / 3, UpdateKind.Delta, Digest),
        ClientUpdate.FromTensors("../sparse/ü\n", Sparse(6)),
        ClientUpdate.FromTensors("weightless", Models.Random(7), 0),
    ];

    private static MemoryModel Sparse(int seed)
    {
        var sink = new MemorySink();
        new FedIcuClient().CreateUpdate(Global, Models.Random(seed, metadata: new Dictionary<string, string> { ["num_examples"] = "77" }),
            sink);
        return sink.Model;
    }

    /// <summary>
    /// After random additions, retractions and restarts, the remaining clients give the bits of a batch round of them.
    /// </summary>
    [Test]
    public void AnyOrderOfArrivalsRetractionsAndRestartsGivesTheBitsOfTheBatch() =>
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

                Assert.That(session.Updates.Select(update => update.Id),
                    Is.EqualTo(there.Select(client => Clients[client].Id).Order(StringComparer.Ordinal)));
                Assert.That(Directory.GetFileSystemEntries(folder.FullName), Has.Length.EqualTo(1 + there.Count),
                    "a file for each client, and the journal");
                if (there.Any(client => Clients[client].Id != "weightless"))
                {
                    foreach (IAggregator aggregator in Aggregators)
                        Assert.That(Bits(aggregator, session.ToRound()),
                            Is.EqualTo(Batch(aggregator, there.Select(client => Clients[client]))), aggregator.Name);
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
            : items.SelectMany((item, i) => Permutations([.. items[..i], .. items[(i + 1)..]])
                .Select(rest => (ClientUpdate[])[item, .. rest]));
    }

    [Test]
    public async Task UpdatesAreStoredAsTheyWereSent()
    {
        using AggregationSession session = AggregationSession.Create(Place, Global);
        foreach (ClientUpdate client in Clients)
        {
            ClientUpdate spooled = (await session.AddAsync(client)).Update;
            using TensorSource copy = spooled.Open(new RoundFiles()).Source;
            TestModels.AssertSame(copy, client.Open(new RoundFiles()).Source);
        }

        Assert.That(session.Updates.Select(update => (update.Id, update.Weight, update.Kind, update.BaseDigest)),
            Is.EqualTo(new (string, double?, UpdateKind?, string?)[]
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
    public async Task TheSendersFileMayBeDeleted()
    {
        Models.Random(2).SaveTo(TensorSink.ToFile(Folder["a.safetensors"]));
        using AggregationSession session = AggregationSession.Create(Place, Global);
        await session.AddAsync(ClientUpdate.FromFile("a", Folder["a.safetensors"], 3));
        File.Delete(Folder["a.safetensors"]);
        Assert.That(Bits(new FedAvgAggregator(), session.ToRound()), Is.EqualTo(Batch(new FedAvgAggregator(), [Client("a")])));
    }

    [Test]
    public async Task AClientIsAddedOnceAndAgainAfterItsRetraction()
    {
        using AggregationSession session = AggregationSession.Create(Place, Global);
        await session.AddAsync(Client("a", 2));
        Refused<RoundRejectedException>(() => session.AddAsync(Client("a", 3)).GetAwaiter().GetResult(),
            "Client 'a' has sent another update already; one of each client was expected.");
        session.Retract("a");
        Assert.That(() => session.Retract("a"),
            Throws.TypeOf<RoundRejectedException>().With.Message.EqualTo("Client 'a' has no update in the session."));
        await session.AddAsync(Client("a", 3));
        Assert.That(Bits(new FedAvgAggregator(), session.ToRound()), Is.EqualTo(Batch(new FedAvgAggregator(), [Client("a", 3)])));
        Assert.That(async () => await session.AddAsync(Client("\ud800")),
            Throws.TypeOf<RoundRejectedException>().With.Message.Contains("half of a surrogate pair"));
        using var cancelled = new CancellationTokenSource();
        cancelled.Cancel();
        Assert.That(async () => await session.AddAsync(Client("b"), cancelled.Token), Throws.InstanceOf<OperationCanceledException>());
    }

    [Test]
    public async Task ManyThreadsMayAdd()
    {
        using (AggregationSession session = AggregationSession.Create(Place, Global))
        {
            // every client is added from two threads, and one of the two is told that its update is there already
            int twice = 0;
            await Parallel.ForEachAsync(Enumerable.Range(0, 80), new ParallelOptions { MaxDegreeOfParallelism = 8 }, async (i, stop) =>
            {
                if ((await session.AddAsync(Client($"{i / 2}", i / 2), stop)).IsRepeated)
                    Interlocked.Increment(ref twice);
            });
            Assert.That((session.Updates.Count, twice), Is.EqualTo((40, 40)));
        }

        using AggregationSession again = AggregationSession.Open(Place, Global);
        Assert.That(Bits(new FedAvgAggregator(), again.ToRound()),
            Is.EqualTo(Batch(new FedAvgAggregator(), Enumerable.Range(0, 40).Select(i => Client($"{i}", i)))));
    }

    [Test]
    public async Task ACollectorAcceptsASessionsUpdates()
    {
        using AggregationSession session = AggregationSession.Create(Place, Global);
        await session.AddAsync(Client("a"));
        using var collector = new RoundCollector(Global, new RoundCollectorOptions { ExpectedClients = 2 });
        foreach (ClientUpdate update in session.Updates)
            collector.Add(update);
        collector.Add((await session.AddAsync(Client("b", 3))).Update);
        Assert.That(Bits(new FedAvgAggregator(), await collector.CompleteAsync()),
            Is.EqualTo(Batch(new FedAvgAggregator(), [Client("a"), Client("b", 3)])));
    }

    [Test]
    public async Task ARestartKeepsTheOrderOfArrival()
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
            session.Arrivals.Select(arrival => $"{arrival.Number}{arrival.Update.Id}"),
            Is.EqualTo(new[] { "1c", "3d", "4b", "5a" }));
    }

    [Test]
    public async Task AnUpdateAfterTheSealIsRefusedAlsoAfterARestart()
    {
        using (AggregationSession session = AggregationSession.Create(Place, Global, new RoundOptions { Round = 7 }))
        {
            await session.AddAsync(Client("b", 2));
            session.Seal();
            session.Seal();
            await CheckAsync(session);
        }

        using (AggregationSession session = AggregationSession.Open(Place, Global))
        {
            await CheckAsync(session);
            session.Retract("b");
            Assert.That(() => session.AddAsync(Client("b", 2)), Throws.TypeOf<RoundRejectedException>()
                .With.Property("Fault").EqualTo(RoundFault.Late), "a client that was retracted cannot send again");
        }

        async Task CheckAsync(AggregationSession session)
        {
            Assert.That(session.IsSealed);
            RoundRejectedException late = Refused<RoundRejectedException>(
                () => session.AddAsync(Client("a", 3)).GetAwaiter().GetResult(),
                "Client 'a': round 7 was sealed; its update came too late.");
            Assert.That((late.Fault, late.ClientId), Is.EqualTo((RoundFault.Late, "a")));
            Assert.That(session.ToRound().Updates.Select(update => update.Id), Is.EqualTo(new[] { "b" }));
            Assert.That(Directory.GetFileSystemEntries(Place), Has.Length.EqualTo(2));
            Assert.That((await session.AddAsync(Client("b", 2))).IsRepeated, "a repeated upload is answered also after the seal");
            Assert.That(Assert.ThrowsAsync<RoundRejectedException>(() => session.AddAsync(Client("b", 3)))!.Fault,
                Is.EqualTo(RoundFault.Duplicate));
        }
    }

    [Test]
    public void AnotherModelOrRoundIsRefused()
    {
        AggregationSession.Create(Place, Global, new RoundOptions { Round = 7 }).Dispose();
        RoundRejectedException refused = Refused<RoundRejectedException>(
            () => AggregationSession.Open(Place, Models.Random(2)),
            $"The session in '{Place}' was created for the model {Digest}; the given global model is " +
                $"{ModelDigest.Compute(Models.Random(2))}.");
        Assert.That(refused.Fault, Is.EqualTo(RoundFault.Base));
        Refused<RoundRejectedException>(() => AggregationSession.Open(Place, Global, new RoundOptions { Round = 8 }),
            $"The session in '{Place}' belongs to round 7; round 8 was given.");
        using AggregationSession session = AggregationSession.Open(Place, Global);
        Assert.That(session.Options.Round, Is.EqualTo(7));
    }

    [Test]
    public void AFolderHoldsOneSession()
    {
        Refused<FedIcuException>(() => AggregationSession.Open(Place, Global), $"The folder '{Place}' holds no session.");
        using (AggregationSession session = AggregationSession.Create(Place, Global))
        {
            foreach (Func<AggregationSession> start in (Func<AggregationSession>[])
                [() => AggregationSession.Create(Place, Global), () => AggregationSession.Open(Place, Global),
                    () => AggregationSession.OpenOrCreate(Place, Global)])
            {
                Assert.That(() => start(), Throws.TypeOf<FedIcuException>()
                    .With.Message.StartsWith("The session's journal cannot be opened: ").And.Message.Contains(Journal).And.Message.Contains(
                        "used by another process"));
            }
        }

        Refused<FedIcuException>(() => AggregationSession.Create(Place, Global), $"The folder '{Place}' holds a session already.");
        Directory.CreateDirectory(Folder["foreign"]);
        string foreign = Folder.Put("foreign/update-1.safetensors", "another's"u8);
        Refused<FedIcuException>(
            () => AggregationSession.OpenOrCreate(Folder["foreign"], Global),
            $"The folder '{Folder["foreign"]}' holds 'update-1.safetensors' and no session; an empty folder was expected.");
        Assert.That(File.Exists(foreign));
        Assert.That(() => AggregationSession.Create(foreign, Global),
            Throws.TypeOf<FedIcuException>().With.Message.Contains("cannot be created"));
        Assert.That(() => AggregationSession.Create(Folder["other"], Global, new RoundOptions { Quorum = 0 }),
            Throws.TypeOf<InvalidOptionsException>());
    }

    [Test]
    public async Task ADisposedSessionThrowsAndADeletedOneIsRemoved()
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
