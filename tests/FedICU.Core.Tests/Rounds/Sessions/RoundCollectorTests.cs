namespace FedICU.Tests;

/// <summary>A collector in memory: expected clients, the deadline and the minimum.</summary>
internal sealed class RoundCollectorTests
{
    private static readonly MemoryModel Global = Models.Of("w", [1], 0);

    private static ClientUpdate Client(string id) => ClientUpdate.FromTensors(id, Models.Of("w", [1], 1), 1);

    [Test]
    public async Task ARoundIsCompleteWhenAllClientsHaveSentAnUpdate()
    {
        using var collector = new RoundCollector(Global, new RoundCollectorOptions { ExpectedClients = 2 });
        Task<AggregationRound> waiting = collector.CompleteAsync();
        ClientUpdate b = Client("b");
        Assert.That(collector.Add(b).IsRepeated, Is.False);
        Assert.That(collector.Add(b).IsRepeated, Is.True);
        Assert.That(waiting.IsCompleted, Is.False);
        Assert.That(() => collector.Add(Client("b")), Throws.TypeOf<RoundRejectedException>()
            .With.Message.Contains("'b' was added twice").And.Property("Fault").EqualTo(RoundFault.Duplicate));
        collector.Add(Client("a"));
        AggregationRound round = await waiting;
        Assert.That(round.Updates.Select(update => update.Id), Is.EquivalentTo(new[] { "a", "b" }));
        Assert.That(() => collector.Add(Client("late")), Throws.TypeOf<RoundRejectedException>()
            .With.Message.EqualTo("Client 'late': the round is complete; its update came too late.")
            .And.Property("Fault").EqualTo(RoundFault.Late));
    }

    [Test]
    public async Task TheDeadlineClosesARoundThatHasTheMinimum()
    {
        var clock = new ManualClock();
        var options = new RoundCollectorOptions
        {
            ExpectedClients = 3,
            MinimumClients = 1,
            Deadline = TimeSpan.FromHours(2),
            TimeProvider = clock
        };
        using var enough = new RoundCollector(Global, options);
        using var tooFew = new RoundCollector(Global, options with { MinimumClients = 2 });
        enough.Add(Client("a"));
        tooFew.Add(Client("a"));
        Task<AggregationRound> waiting = enough.CompleteAsync();
        Assert.That(waiting.IsCompleted, Is.False);
        clock.Advance(TimeSpan.FromHours(2) - TimeSpan.FromTicks(1));
        Assert.That(waiting.IsCompleted, Is.False);
        clock.Advance(TimeSpan.FromTicks(1));
        Assert.That((await waiting).Updates, Has.Count.EqualTo(1));
        Assert.That(async () => await tooFew.CompleteAsync(), Throws.TypeOf<RoundRejectedException>()
            .With.Message.EqualTo("At the deadline 1 of 3 expected clients had sent an update; at least 2 must.")
            .And.Property("Fault").EqualTo(RoundFault.Quorum));
    }

    [Test]
    public void WaitingForADisposedCollectorThrows()
    {
        var collector = new RoundCollector(Global, new RoundCollectorOptions { ExpectedClients = 2, Deadline = TimeSpan.FromHours(2) });
        collector.Dispose();
        collector.Dispose();
        Assert.That(async () => await collector.CompleteAsync(), Throws.TypeOf<RoundRejectedException>()
            .With.Message.EqualTo("When the collector was disposed 0 of 2 expected clients had sent an update; at least 2 must."));
    }

    [Test]
    public void AllInvalidOptionsAreReportedAtOnce() => Assert.That(
        () => new RoundCollector(Global,
            new RoundCollectorOptions { ExpectedClients = 0, MinimumClients = 3, Deadline = TimeSpan.FromSeconds(-1) }),
        Throws.TypeOf<InvalidOptionsException>().With.Property(nameof(InvalidOptionsException.Errors)).Count.EqualTo(3));

    [TestCase(0, false), TestCase(0.001, true), TestCase(48, true), TestCase(49, true), TestCase(49.1, false), TestCase(1e6, false)]
    public void ADeadlineIsAtMostWhatATimerCounts(double days, bool allowed)
    {
        var options = new RoundCollectorOptions { ExpectedClients = 1, Deadline = TimeSpan.FromDays(days) };
        if (allowed)
            new RoundCollector(Global, options).Dispose();
        else
            Assert.That(() => new RoundCollector(Global, options),
                Throws.TypeOf<InvalidOptionsException>().With.Message.Contains("more than 0 and at most 49 days"));
    }

    [Test]
    public void WaitingCanBeCancelled()
    {
        using var collector = new RoundCollector(Global, new RoundCollectorOptions { ExpectedClients = 1 });
        using var cancelled = new CancellationTokenSource();
        cancelled.Cancel();
        Assert.That(async () => await collector.CompleteAsync(cancellationToken: cancelled.Token),
            Throws.InstanceOf<OperationCanceledException>());
    }
}
