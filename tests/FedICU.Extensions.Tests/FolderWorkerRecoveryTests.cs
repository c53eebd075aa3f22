using System.Diagnostics;
using System.Text.Json;
using FolderRounds;

namespace FedICU.Extensions.Tests;

/// <summary>Ends the worker of samples/FolderRounds at every step of a round, and starts another one.</summary>
internal sealed class FolderWorkerRecoveryTests : FolderWorkerFixture
{
    [Test]
    public async Task AnInterruptedRoundRunsAgainAndGivesTheSameBits()
    {
        Put("5", "a", 51);
        Put("5", "b", 52);
        Ready("5");
        byte[] expected = await ExpectedAsync(_folder["inbox/5"], 5), before = Global();
        using (var stop = new CancellationTokenSource())
        using (FolderWorker worker = Worker(new Interrupted(stop)))
            Assert.CatchAsync<OperationCanceledException>(() => worker.ScanAsync(stop.Token));
        Assert.That(Global(), Is.EqualTo(before));
        Assert.That(Names("inbox"), Is.EqualTo(new[] { "5" }));
        using (FolderWorker worker = Worker())
            await worker.ScanAsync(default);
        Assert.That(Global(), Is.EqualTo(expected));
        Assert.That(Names("done"), Is.EqualTo(new[] { "5" }));
    }

    // the files as a crash leaves them after each step that follows the new global model
    [TestCase("the model is published"), TestCase("the folder is moved"), TestCase("the report is written")]
    public async Task ARoundThatFinishedBeforeACrashDoesNotRunAgain(string step)
    {
        Put("6", "a", 61);
        Ready("6");
        string report = await CrashAsync("6", step);
        byte[] after = Global();
        Put("2", "a", 21);
        Ready("2");
        byte[] next = await ExpectedAsync(_folder["inbox/2"], 2);
        using FolderWorker worker = Worker();
        await worker.ScanAsync(default);
        Assert.That(Names("done"), Is.EqualTo(new[] { "2", "6" }));
        Assert.That(Global(), Is.EqualTo(next).And.Not.EqualTo(after), "6 was completed first, then 2 ran once over it");
        Assert.That(File.ReadAllText(_folder["done/6/report.json"]), Is.EqualTo(report));
        Assert.That(RoundReport.FromJson(File.ReadAllText(_folder["done/2/report.json"])).Round, Is.EqualTo(2));
        AssertNoTemporaries();
    }

    [Test]
    public async Task AReportOfAnUnpublishedModelIsNotUsed()
    {
        Put("6", "a", 61);
        Ready("6");
        byte[] before = Global(), expected = await ExpectedAsync(_folder["inbox/6"], 6);
        await CrashAsync("6", "the model is published");
        File.WriteAllBytes(_folder["global.safetensors"], before);
        Put("6", "b", 62);
        byte[] both = await ExpectedAsync(_folder["inbox/6"], 6);
        using FolderWorker worker = Worker();
        await worker.ScanAsync(default);
        Assert.That(Global(), Is.EqualTo(both).And.Not.EqualTo(expected));
        Assert.That(
            RoundReport.FromJson(File.ReadAllText(_folder["done/6/report.json"])).Clients, Has.Count.EqualTo(2),
            "the report belongs to the round that is in the model");
    }

    [TestCase(false), TestCase(true)]
    public async Task AnInterruptedRefusalIsCompleted(bool moved)
    {
        Put("6", "a", 61);
        File.WriteAllText(_folder[".round.json"], """{"Round":"6","Refusal":"The reason.","Place":"6"}""");
        if (moved)
            Directory.Move(_folder["inbox/6"], _folder["failed/6"]);
        using FolderWorker worker = Worker();
        await worker.ScanAsync(default);
        Assert.That(File.ReadAllText(_folder["failed/6/refusal.txt"]), Is.EqualTo("The reason.\n"));
        Assert.That(Names("inbox"), Is.Empty);
        AssertNoTemporaries();
    }

    // the round ends the worker's process at every start
    [Test]
    public async Task ARoundThatKeepsEndingTheWorkerIsRefused()
    {
        Put("6", "a", 61);
        Ready("6");
        Put("7", "a", 71);
        Ready("7");
        File.WriteAllText(_folder[".round.json"], """{"Round":"6","Base":"sha256:0","Attempts":5}""");
        using FolderWorker worker = Worker();
        await worker.ScanAsync(default);
        Assert.That(File.ReadAllText(_folder["failed/6/refusal.txt"]), Is.EqualTo("The worker ended 5 times during this round.\n"));
        Assert.That(Names("done"), Is.EqualTo(new[] { "7" }));
    }

    [Test]
    public async Task RoundsWaitWhileTheStateCannotBeRead()
    {
        Put("6", "a", 61);
        Ready("6");
        byte[] before = Global();
        File.WriteAllText(_folder[".round.json"], "{");
        using FolderWorker worker = Worker();
        await worker.ScanAsync(default);
        Assert.That(Global(), Is.EqualTo(before));
        File.Delete(_folder[".round.json"]);
        await worker.ScanAsync(default);
        Assert.That(Names("done"), Is.EqualTo(new[] { "6" }));
    }

    // the process is killed at random moments; each round must be in the model once, in the order of the numbers, with
    // its own report
    [Test]
    [CancelAfter(300_000)]
    public async Task AKilledProcessLosesNoRoundAndRunsNoneTwice()
    {
        const int Count = 12;
        byte[] before = Global();
        for (int round = 1; round <= Count; round++)
        {
            Put($"{round}", "a", 10 * round);
            Put($"{round}", "b", 10 * round + 1);
            Ready($"{round}");
            File.WriteAllBytes(_folder["global.safetensors"], await ExpectedAsync(_folder[$"inbox/{round}"], round));
        }

        byte[] expected = Global();
        File.WriteAllBytes(_folder["global.safetensors"], before);
        var random = new Random(3);
        for (int kills = 0; Names("done").Length < Count; kills++)
        {
            // by turns during a round and after a round, so that no round reaches the limit of attempts
            int done = Names("done").Length;
            string? state = State();
            using Process worker = StartProcess();
            await UntilAsync(() => Names("done").Length > done || kills % 2 == 0 && State() is { } now && now != state);
            await Task.Delay(random.Next(8));
            worker.Kill();
            await worker.WaitForExitAsync();
            Assert.That(kills, Is.LessThan(2 * Count + 2));
        }

        using (FolderWorker worker = Worker())
            await worker.ScanAsync(default);
        Assert.That(Global(), Is.EqualTo(expected));
        Assert.That((Names("inbox"), Names("failed")), Is.EqualTo((Array.Empty<string>(), Array.Empty<string>())));
        for (int round = 1; round <= Count; round++)
        {
            RoundReport report = RoundReport.FromJson(File.ReadAllText(_folder[$"done/{round}/report.json"]));
            Assert.That((report.Round, report.Clients.Count(client => client.Included)), Is.EqualTo(((long?)round, 2)));
        }

        string? State()
        {
            try
            {
                return File.ReadAllText(_folder[".round.json"]);
            }
            catch (IOException)
            {
                return null;
            }
        }
    }

    /// <summary>Runs a round, leaves the files as a crash after a step would, and returns the round's report.</summary>
    private async Task<string> CrashAsync(string round, string step)
    {
        string digest;
        using (TensorSource global = TensorSource.Open(_folder["global.safetensors"]))
            digest = ModelDigest.Compute(global);
        using (FolderWorker worker = Worker())
            await worker.ScanAsync(default);
        string report = File.ReadAllText(_folder[$"done/{round}/report.json"]);
        var state = new WorkState { Round = round, Base = digest, Attempts = 1, Report = report };
        File.WriteAllText(_folder[".round.json"], JsonSerializer.Serialize(state));
        if (step != "the report is written")
            File.Delete(_folder[$"done/{round}/report.json"]);
        if (step == "the model is published")
            Directory.Move(_folder[$"done/{round}"], _folder[$"inbox/{round}"]);
        return report;
    }

    /// <summary>Stops the host during a round.</summary>
    private sealed class Interrupted(CancellationTokenSource stop) : IAggregator
    {
        public string Name => "interrupted";

        public async Task<AggregationResult> AggregateAsync(
            AggregationRound round, TensorSink output, CancellationToken cancellationToken = default)
        {
            await stop.CancelAsync();
            throw new OperationCanceledException(cancellationToken);
        }
    }
}
