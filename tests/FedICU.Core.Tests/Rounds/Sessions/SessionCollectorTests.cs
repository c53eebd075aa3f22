namespace FedICU.Tests;

/// <summary>A collector over a session: which clients are in time is decided once and survives restarts.</summary>
internal sealed class SessionCollectorTests : FolderFixture
{
    private static readonly MemoryModel Global = Models.Of("w", [1], 0);

    private readonly ManualClock _clock = new();

    private static ClientUpdate Client(string id) => ClientUpdate.FromTensors(id, Models.Of("w", [1], 1), 1);

    private AggregationSession Open() =>
        AggregationSession.OpenOrCreate(Folder["s"], Global, new RoundOptions { Round = 7 }, new SessionOptions { TimeProvider = _clock });

    private RoundCollectorOptions Options(int expected, double? hours = null, int? minimum = null) => new()
    {
        ExpectedClients = expected,
        MinimumClients = minimum,
        Deadline = hours is { } h ? TimeSpan.FromHours(h) : null,
        TimeProvider = _clock,
    };

    private static void AssertLate(Func<Task<UpdateReceipt>> add) =>
        Assert.That(Assert.ThrowsAsync<RoundRejectedException>(() => add())!.Fault, Is.EqualTo(RoundFault.Late));

    private static string Ids(AggregationRound round) => string.Join(',', round.Updates.Select(update => update.Id));

    /// <summary>
    /// The ids' ordinal order differs from the order of arrival: if it decided, other clients would be in time after
    /// the restart.
    /// </summary>
    [Test]
    public async Task TheSameClientsAreLateAfterARestart()
    {
        using (AggregationSession session = Open())
        using (RoundCollector collector = RoundCollector.Over(session, Options(2)))
        {
            Assert.That((await collector.AddAsync(Client("z"))).IsRepeated, Is.False);
            Task<AggregationRound> waiting = collector.CompleteAsync();
            Assert.That(waiting.IsCompleted, Is.False);
            ClientUpdate added = (await session.AddAsync(Client("y"))).Update;
            Assert.That(collector.Add(added).Update, Is.SameAs(added), "added to the session first, then to the collector");
            AssertLate(() => collector.AddAsync(Client("a")));
            AssertLate(() => Task.FromResult(collector.Add(Client("b"))));
            AggregationRound round = await waiting;
            Assert.That((Ids(round), round.Options.Round, collector.Count), Is.EqualTo(("y,z", 7L, 2)));
        }

        using AggregationSession again = Open();
        // also if more clients are expected than before
        using RoundCollector after = RoundCollector.Over(again, Options(3, minimum: 1));
        Assert.That(Ids(await after.CompleteAsync()), Is.EqualTo("y,z"));
        AssertLate(() => after.AddAsync(Client("c")));
        Assert.That(again.Arrivals.Select(arrival => arrival.Update.Id), Is.EqualTo(new[] { "z", "y" }));
    }

    [Test]
    public async Task TheDeadlineRunsFromTheSessionsCreation()
    {
        using (AggregationSession session = Open())
        using (RoundCollector collector = RoundCollector.Over(session, Options(3, hours: 2, minimum: 1)))
        {
            _clock.Advance(TimeSpan.FromHours(1.5));
            await collector.AddAsync(Client("b"));
        }

        using (AggregationSession session = Open())
        using (RoundCollector collector = RoundCollector.Over(session, Options(3, hours: 2, minimum: 1)))
        {
            Task<AggregationRound> waiting = collector.CompleteAsync();
            _clock.Advance(TimeSpan.FromHours(.5) - TimeSpan.FromTicks(1));
            Assert.That((waiting.IsCompleted, session.IsSealed), Is.EqualTo((false, false)));
            _clock.Advance(TimeSpan.FromTicks(1));
            Assert.That(Ids(await waiting), Is.EqualTo("b"));
            AssertLate(() => collector.AddAsync(Client("a")));
        }

        using AggregationSession last = Open();
        Assert.That(last.Updates.Select(update => update.Id), Is.EqualTo(new[] { "b" }));
    }

    [Test]
    public async Task ADeadlineThatPassesWhileTheServerIsDownClosesTheRound()
    {
        using (AggregationSession session = Open())
        using (RoundCollector collector = RoundCollector.Over(session, Options(3, hours: 2)))
            await collector.AddAsync(Client("a"));
        _clock.Advance(TimeSpan.FromHours(3));
        using AggregationSession again = Open();
        using RoundCollector after = RoundCollector.Over(again, Options(3, hours: 2));
        AssertLate(() => after.AddAsync(Client("b")));
        Assert.That(async () => await after.CompleteAsync(), Throws.TypeOf<RoundRejectedException>()
            .With.Message.EqualTo("At the deadline 1 of 3 expected clients had sent an update; at least 3 must."));
    }

    [Test]
    public async Task AClockThatWasSetBackDoesNotExtendTheDeadline()
    {
        using (AggregationSession session = Open())
            await session.AddAsync(Client("a"));
        _clock.Advance(TimeSpan.FromDays(-10));
        using AggregationSession again = Open();
        using RoundCollector collector = RoundCollector.Over(again, Options(2, hours: 2, minimum: 1));
        _clock.Advance(TimeSpan.FromHours(2));
        Assert.That(Ids(await collector.CompleteAsync()), Is.EqualTo("a"));
    }

    [Test]
    public async Task ARetractedClientMakesRoomUntilTheRoundIsClosed()
    {
        using AggregationSession session = Open();
        using RoundCollector collector = RoundCollector.Over(session, Options(2));
        await collector.AddAsync(Client("a"));
        session.Retract("a");
        Assert.That(collector.Count, Is.Zero);
        await collector.AddAsync(Client("b"));
        await collector.AddAsync(Client("c"));
        session.Retract("c");
        AssertLate(() => collector.AddAsync(Client("d")));
        Assert.That(
            async () => await collector.CompleteAsync(),
            Throws.TypeOf<RoundRejectedException>().With.Property("Fault").EqualTo(RoundFault.Quorum).And.Message.EqualTo(
                "The round is sealed with updates of 1 of 2 expected clients; at least 2 must be there."));
    }

    [Test]
    public async Task StoppingTheServerDoesNotCloseTheRound()
    {
        using AggregationSession session = Open();
        RoundCollector collector = RoundCollector.Over(session, Options(2, hours: 2));
        Assert.That(() => RoundCollector.Over(session, Options(2)), Throws.InvalidOperationException);
        await collector.AddAsync(Client("b"));
        Task<AggregationRound> waiting = collector.CompleteAsync();
        collector.Dispose();
        collector.Dispose();
        Assert.That(async () => await waiting, Throws.TypeOf<ObjectDisposedException>());
        Assert.That(session.IsSealed, Is.False);
        using RoundCollector next = RoundCollector.Over(session, Options(2, hours: 2));
        await next.AddAsync(Client("a"));
        Assert.That(Ids(await next.CompleteAsync()), Is.EqualTo("a,b"));
    }

    [Test]
    public async Task ASealedRoundCompletesItsCollector()
    {
        using AggregationSession session = Open();
        using RoundCollector collector = RoundCollector.Over(session, Options(2, minimum: 1));
        await collector.AddAsync(Client("a"));
        Task<AggregationRound> waiting = collector.CompleteAsync();
        session.Seal();
        Assert.That(Ids(await waiting), Is.EqualTo("a"));
        session.Dispose();
        Assert.That(async () => await collector.CompleteAsync(), Throws.TypeOf<ObjectDisposedException>());
        Assert.That(() => RoundCollector.Over(session, Options(1)), Throws.TypeOf<ObjectDisposedException>());
    }

    /// <summary>Compares random arrivals, retractions and restarts with a list in memory.</summary>
    [Test]
    public async Task RestartsDoNotChangeWhichClientsAreInTime([Range(0, 14)] int seed)
    {
        var random = new Random(seed);
        int expected = random.Next(2, 6);
        var there = new List<string>();
        bool closed = false;
        AggregationSession session = Open();
        RoundCollector collector = RoundCollector.Over(session, Options(expected));
        for (int step = 0; step < 30; step++)
        {
            int what = random.Next(10);
            string id = $"{random.Next(12)}";
            if (what == 0)
            {
                collector.Dispose();
                session.Dispose();
                session = Open();
                collector = RoundCollector.Over(session, Options(expected));
            }
            else if (what < 3 && there.Remove(id))
            {
                session.Retract(id);
            }
            else if (closed && !there.Contains(id))
            {
                AssertLate(() => collector.AddAsync(Client(id)));
            }
            else
            {
                Assert.That((await collector.AddAsync(Client(id))).IsRepeated, Is.EqualTo(there.Contains(id)));
                if (!there.Contains(id))
                    there.Add(id);
                closed |= there.Count == expected;
            }

            Assert.That(session.Arrivals.Select(arrival => arrival.Update.Id), Is.EqualTo(there));
            Assert.That(session.IsSealed, Is.EqualTo(closed));
        }

        collector.Dispose();
        session.Dispose();
    }
}
