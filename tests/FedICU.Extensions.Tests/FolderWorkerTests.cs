using FolderRounds;
using Microsoft.Extensions.Hosting;

namespace FedICU.Extensions.Tests;

/// <summary>Runs rounds of the sample samples/FolderRounds in a folder.</summary>
internal sealed class FolderWorkerTests : FolderWorkerFixture
{
    [Test]
    public async Task RoundsContinueAfterARestartAndABrokenFile()
    {
        Put("1", "a", 11);
        Put("1", "b", 12);
        Put("2", "a", 21);
        Ready("1");
        byte[] before = Global();
        byte[] first = await ExpectedAsync(_folder["inbox/1"], 1);
        using (IHost host = await StartAsync())
        {
            await UntilAsync(() => Directory.Exists(_folder["done/1"]));
            Assert.That(Global(), Is.EqualTo(first).And.Not.EqualTo(before), "the same bits as from the library called directly");
            Assert.That(Directory.Exists(_folder["inbox/2"]), "a round that is not ready waits");
            await host.StopAsync();
        }

        // while no worker runs
        Put("2", "b", 22);
        Ready("2");
        Put("3", "a", 31);
        File.WriteAllBytes(_folder["inbox/3/b.safetensors"], [1, 2, 3]);
        Ready("3");
        byte[] second = await ExpectedAsync(_folder["inbox/2"], 2);
        using (IHost host = await StartAsync())
        {
            await UntilAsync(() => File.Exists(_folder["failed/3/refusal.txt"]));
            Assert.That(Global(), Is.EqualTo(second), "the broken round changes nothing");
            Assert.That(File.ReadAllText(_folder["failed/3/refusal.txt"]), Does.StartWith("Client 'b'").And.EndsWith("\n"));

            Put("4", "a", 41);
            byte[] third = await ExpectedAsync(_folder["inbox/4"], 4);
            Ready("4");
            await UntilAsync(() => Directory.Exists(_folder["done/4"]));
            Assert.That(Global(), Is.EqualTo(third));
            await host.StopAsync();
        }

        Assert.That(Names("inbox"), Is.Empty);
        Assert.That(Names("done"), Is.EqualTo(new[] { "1", "2", "4" }));
        RoundReport report = RoundReport.FromJson(File.ReadAllText(_folder["done/2/report.json"]));
        string clients = string.Join(",", report.Clients.Select(client => client.Id));
        Assert.That((report.Round, report.Strategy, clients), Is.EqualTo((2L, "fedicu", "a,b")));
        AssertNoTemporaries();
    }

    [Test]
    public async Task AQuorumAndAQuietTimeStartARound()
    {
        var clock = new ManualClock();
        using FolderWorker worker = Worker(new FedAvgAggregator(), new RoundOptions { Quorum = 2 }, TimeSpan.FromMinutes(5), clock);
        Put("7", "a", 1);
        await ScanAfter(TimeSpan.FromHours(1));
        await ScanAfter(TimeSpan.FromHours(1));
        Assert.That(Names("inbox"), Is.EqualTo(new[] { "7" }), "one client is no quorum");
        Put("7", "b", 2);
        await ScanAfter(TimeSpan.Zero);
        await ScanAfter(TimeSpan.FromMinutes(4));
        Put("7", "c", 3);
        await ScanAfter(TimeSpan.FromMinutes(4));
        await ScanAfter(TimeSpan.FromMinutes(4));
        Assert.That(Names("inbox"), Is.EqualTo(new[] { "7" }), "the folder has not been quiet for 5 minutes");
        await ScanAfter(TimeSpan.FromMinutes(2));
        Assert.That(Names("done"), Is.EqualTo(new[] { "7" }));
        Assert.That(RoundReport.FromJson(File.ReadAllText(_folder["done/7/report.json"])).Clients, Has.Count.EqualTo(3));

        async Task ScanAfter(TimeSpan later)
        {
            clock.Now += later.Ticks;
            await worker.ScanAsync(default);
        }
    }

    [Test]
    public async Task TheQuietTimeWorksWithADanglingLink()
    {
        var clock = new ManualClock();
        using FolderWorker worker = Worker(
            new FedAvgAggregator(), new RoundOptions { Quorum = 1, OnUnreadable = FaultPolicy.DropClient }, TimeSpan.FromMinutes(5), clock);
        Put("7", "a", 1);
        File.CreateSymbolicLink(_folder["inbox/7/b.safetensors"], "/nowhere");
        Put("8", "a", 1);
        await worker.ScanAsync(default);
        clock.Now += TimeSpan.FromMinutes(5).Ticks;
        await worker.ScanAsync(default);
        Assert.That(Names("done"), Is.EqualTo(new[] { "7", "8" }));
    }

    [Test]
    public async Task InvalidRoundsAreRefusedWithAReason()
    {
        Put("first", "a", 1);
        Ready("first");
        Directory.CreateDirectory(_folder["inbox/8"]);
        Ready("8");
        Directory.CreateDirectory(_folder["done/9"]);
        Put("9", "a", 1);
        Ready("9");
        Directory.CreateDirectory(_folder["failed/9"]);
        byte[] before = Global();
        using FolderWorker worker = Worker();
        await worker.ScanAsync(default);
        Assert.That(Names("failed"), Is.EqualTo(new[] { "8", "9", "9.2", "first" }));
        Assert.That(
            File.ReadAllText(_folder["failed/first/refusal.txt"]),
            Is.EqualTo("The round's folder is named 'first'; a whole number such as 7 was expected.\n"));
        Assert.That(File.ReadAllText(_folder["failed/9.2/refusal.txt"]), Is.EqualTo("Round 9 is done already.\n"));
        Assert.That(File.ReadAllText(_folder["failed/8/refusal.txt"]), Does.Contain("client"));
        Assert.That(Global(), Is.EqualTo(before));
    }

    // an exception that the library does not document refuses its round, and the next round runs
    [TestCase(typeof(OverflowException)), TestCase(typeof(OutOfMemoryException)), TestCase(typeof(NullReferenceException))]
    [TestCase(typeof(IOException)), TestCase(typeof(UnauthorizedAccessException)), TestCase(typeof(InvalidOperationException))]
    [TestCase(typeof(OperationCanceledException))]
    public async Task AnUnexpectedExceptionRefusesTheRound(Type exception)
    {
        Put("1", "evil", 11);
        Ready("1");
        Put("2", "a", 21);
        Ready("2");
        byte[] expected = await ExpectedAsync(_folder["inbox/2"], 2);
        using FolderWorker worker = Worker(new Fragile(() => (Exception)Activator.CreateInstance(exception)!));
        await worker.ScanAsync(default);
        Assert.That(
            File.ReadAllText(_folder["failed/1/refusal.txt"]), Does.StartWith($"The round failed unexpectedly ({exception.Name}): "));
        Assert.That(Names("done"), Is.EqualTo(new[] { "2" }));
        Assert.That(Global(), Is.EqualTo(expected));
        AssertNoTemporaries();
    }

    // a refused round that cannot be moved to failed stays in the inbox, does not run again, and blocks no other round
    [Test]
    public async Task ARoundThatCannotBeMovedBlocksNoOther()
    {
        Put("1", "evil", 11);
        Ready("1");
        Put("2", "a", 21);
        Ready("2");
        Directory.Delete(_folder["failed"]);
        int runs = 0;
        using FolderWorker worker = Worker(new Fragile(() =>
        {
            runs++;
            return new OverflowException();
        }));
        await worker.ScanAsync(default);
        await worker.ScanAsync(default);
        Assert.That((Names("inbox"), Names("done"), runs), Is.EqualTo((new[] { "1" }, new[] { "2" }, 1)));
        Directory.CreateDirectory(_folder["failed"]);
        await worker.ScanAsync(default);
        Assert.That((Names("failed"), runs), Is.EqualTo((new[] { "1" }, 1)));
        Assert.That(File.Exists(_folder["failed/1/refusal.txt"]));
    }

    [Test]
    public async Task AllRoundsWaitAfterADiskError()
    {
        Put("1", "evil", 11);
        Ready("1");
        Put("2", "a", 21);
        Ready("2");
        using (FolderWorker worker = Worker(new Fragile(() => new FedIcuException("The disk is full."))))
            await worker.ScanAsync(default);
        Assert.That(Names("inbox"), Is.EqualTo(new[] { "1", "2" }));
        using (FolderWorker worker = Worker())
            await worker.ScanAsync(default);
        Assert.That(Names("done"), Is.EqualTo(new[] { "1", "2" }));
    }

    [Test]
    public async Task RoundsWaitWhileTheGlobalModelCannotBeRead()
    {
        Put("1", "a", 11);
        Ready("1");
        byte[] expected = await ExpectedAsync(_folder["inbox/1"], 1), global = Global();
        File.WriteAllBytes(_folder["global.safetensors"], [0]);
        using FolderWorker worker = Worker();
        await worker.ScanAsync(default);
        Assert.That(Names("inbox"), Is.EqualTo(new[] { "1" }));
        File.WriteAllBytes(_folder["global.safetensors"], global);
        await worker.ScanAsync(default);
        Assert.That(Global(), Is.EqualTo(expected));
    }

    private sealed class ManualClock : TimeProvider
    {
        public long Now { get; set; }

        public override long TimestampFrequency => TimeSpan.TicksPerSecond;

        public override long GetTimestamp() => Now;
    }

    /// <summary>Runs FedICU, but fails for rounds with a client named <c>evil</c>.</summary>
    private sealed class Fragile(Func<Exception> failure) : IAggregator
    {
        public string Name => "fragile";

        public Task<AggregationResult> AggregateAsync(
            AggregationRound round, TensorSink output, CancellationToken cancellationToken = default) =>
            round.Updates.Any(update => update.Id == "evil")
                ? throw failure()
                : new FedIcuAggregator().AggregateAsync(round, output, cancellationToken);
    }
}
