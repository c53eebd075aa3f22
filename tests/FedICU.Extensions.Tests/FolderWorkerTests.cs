using System.Diagnostics;
using System.Text.Json;
using FedICU.Tests.Files;
using FolderRounds;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Options;

namespace FedICU.Extensions.Tests;

/// <summary>The sample samples/FolderRounds, end to end in a folder of its own.</summary>
internal sealed class FolderWorkerTests
{
    private TempFolder _folder = null!;

    [SetUp]
    public void MakeFolder()
    {
        _folder = new TempFolder();
        foreach (string name in (string[])["inbox", "done", "failed"])
            Directory.CreateDirectory(_folder[name]);
        Rounds.Model(0).SaveTo(TensorSink.ToFile(_folder["global.safetensors"]));
    }

    [TearDown]
    public void RemoveFolder() => _folder.Dispose();

    [Test]
    public async Task RoundsOverARestartAndABrokenFile()
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
            Assert.That(Global(), Is.EqualTo(first).And.Not.EqualTo(before), "the bits of the library called directly");
            Assert.That(Directory.Exists(_folder["inbox/2"]), "a round that is not ready waits");
            await host.StopAsync();
        }

        // while nobody watches
        Put("2", "b", 22);
        Ready("2");
        Put("3", "a", 31);
        File.WriteAllBytes(_folder["inbox/3/b.safetensors"], [1, 2, 3]);
        Ready("3");
        byte[] second = await ExpectedAsync(_folder["inbox/2"], 2);
        using (IHost host = await StartAsync())
        {
            await UntilAsync(() => Directory.Exists(_folder["failed/3"]));
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
        Assert.That((report.Round, report.Strategy, string.Join(",", report.Clients.Select(client => client.Id))), Is.EqualTo((2L, "fedicu", "a,b")));
        AssertNoTemporaries();
    }

    [Test]
    public async Task AQuorumAndAQuietTimeBeginARound()
    {
        var clock = new HandClock();
        using FolderWorker worker = Worker(new FedAvgAggregator(), new RoundOptions { Quorum = 2 }, TimeSpan.FromMinutes(5), clock);
        Put("7", "a", 1);
        await Look(TimeSpan.FromHours(1));
        await Look(TimeSpan.FromHours(1));
        Assert.That(Names("inbox"), Is.EqualTo(new[] { "7" }), "one client is no quorum");
        Put("7", "b", 2);
        await Look(TimeSpan.Zero);
        await Look(TimeSpan.FromMinutes(4));
        Put("7", "c", 3);
        await Look(TimeSpan.FromMinutes(4));
        await Look(TimeSpan.FromMinutes(4));
        Assert.That(Names("inbox"), Is.EqualTo(new[] { "7" }), "it has not been quiet for 5 minutes");
        await Look(TimeSpan.FromMinutes(2));
        Assert.That(Names("done"), Is.EqualTo(new[] { "7" }));
        Assert.That(RoundReport.FromJson(File.ReadAllText(_folder["done/7/report.json"])).Clients, Has.Count.EqualTo(3));

        async Task Look(TimeSpan later)
        {
            clock.Now += later.Ticks;
            await worker.ScanAsync(default);
        }
    }

    [Test]
    public async Task ARoundThatWasCutShortIsRunAgainAndGivesTheSameBits()
    {
        Put("5", "a", 51);
        Put("5", "b", 52);
        Ready("5");
        byte[] expected = await ExpectedAsync(_folder["inbox/5"], 5), before = Global();
        using (var stop = new CancellationTokenSource())
        using (FolderWorker worker = Worker(new CutShort(stop)))
            Assert.CatchAsync<OperationCanceledException>(() => worker.ScanAsync(stop.Token));
        Assert.That(Global(), Is.EqualTo(before));
        Assert.That(Names("inbox"), Is.EqualTo(new[] { "5" }));
        using (FolderWorker worker = Worker())
            await worker.ScanAsync(default);
        Assert.That(Global(), Is.EqualTo(expected));
        Assert.That(Names("done"), Is.EqualTo(new[] { "5" }));
    }

    /// <summary>
    /// The disk as a crash leaves it after each step behind the new global model: the round is not run again, and its report is there.
    /// </summary>
    [TestCase("the model is in its place"), TestCase("the folder is moved"), TestCase("the report is there")]
    public async Task ARoundThatWasOverBeforeACrashIsNotRunAgain(string step)
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
        Assert.That(Global(), Is.EqualTo(next).And.Not.EqualTo(after), "6 was put away first, then 2 ran once over it");
        Assert.That(File.ReadAllText(_folder["done/6/report.json"]), Is.EqualTo(report));
        Assert.That(RoundReport.FromJson(File.ReadAllText(_folder["done/2/report.json"])).Round, Is.EqualTo(2));
        AssertNoTemporaries();
    }

    [Test]
    public async Task AReportWhoseModelIsNotInItsPlaceIsNotUsed()
    {
        Put("6", "a", 61);
        Ready("6");
        byte[] before = Global(), expected = await ExpectedAsync(_folder["inbox/6"], 6);
        await CrashAsync("6", "the model is in its place");
        File.WriteAllBytes(_folder["global.safetensors"], before);
        Put("6", "b", 62);
        byte[] both = await ExpectedAsync(_folder["inbox/6"], 6);
        using FolderWorker worker = Worker();
        await worker.ScanAsync(default);
        Assert.That(Global(), Is.EqualTo(both).And.Not.EqualTo(expected));
        Assert.That(RoundReport.FromJson(File.ReadAllText(_folder["done/6/report.json"])).Clients, Has.Count.EqualTo(2), "the report is of the round that is in the model");
    }

    [TestCase(false), TestCase(true)]
    public async Task ARefusalThatACrashCutShortIsCompleted(bool moved)
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

    /// <summary>A round that ends the process itself, at every start.</summary>
    [Test]
    public async Task ARoundThatEndsTheWorkerAgainAndAgainIsPutAside()
    {
        Put("6", "a", 61);
        Ready("6");
        Put("7", "a", 71);
        Ready("7");
        File.WriteAllText(_folder[".round.json"], """{"Round":"6","Base":"sha256:0","Attempts":5}""");
        using FolderWorker worker = Worker();
        await worker.ScanAsync(default);
        Assert.That(File.ReadAllText(_folder["failed/6/refusal.txt"]), Is.EqualTo("The worker was ended 5 times during this round.\n"));
        Assert.That(Names("done"), Is.EqualTo(new[] { "7" }));
    }

    [Test]
    public async Task AStateThatCannotBeReadLetsRoundsWait()
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

    /// <summary>
    /// The process killed at any moment, again and again: each round is in the model once, in the order of the numbers, with its own
    /// report.
    /// </summary>
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
            // by turns at a step of a round, and behind a round, so that no round is cut short too often
            int done = Names("done").Length;
            string? state = State();
            using Process worker = Start();
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

    /// <summary>What one client uploads falls under <c>on-unreadable</c>: the round goes on without it, and its report says why.</summary>
    [TestCase("a link"), TestCase("a link to nothing"), TestCase("a loop of links"), TestCase("a folder"), TestCase("a link to a folder"), TestCase("a pipe"), TestCase("empty"), TestCase("text"),
     TestCase("a huge header"), TestCase("a huge shape"), TestCase("a name that is not UTF-8")]
    public async Task AHostileUploadIsLeftOut(string what)
    {
        Put("1", "a", 11);
        Put("1", "b", 12);
        byte[] expected = await ExpectedAsync(_folder["inbox/1"], 1);
        string evil = _folder["inbox/1/evil.safetensors"], id = "evil";
        switch (what)
        {
            case "a link":
                Rounds.Model(5).SaveTo(TensorSink.ToFile(_folder["secret.safetensors"]));
                File.CreateSymbolicLink(evil, _folder["secret.safetensors"]);
                break;
            case "a link to nothing":
                File.CreateSymbolicLink(evil, "/nowhere/at/all");
                break;
            case "a loop of links":
                File.CreateSymbolicLink(evil, evil);
                break;
            case "a folder":
                Directory.CreateDirectory(evil);
                Rounds.Model(5).SaveTo(TensorSink.ToFile(Path.Combine(evil, "model.safetensors")));
                break;
            case "a link to a folder":
                Directory.CreateSymbolicLink(evil, "/tmp");
                break;
            case "a pipe":
                Shell($"mkfifo '{evil}'");
                break;
            case "empty":
                File.WriteAllBytes(evil, []);
                break;
            case "text":
                File.WriteAllText(evil, "no model");
                break;
            case "a huge header":
                File.WriteAllBytes(evil, [.. BitConverter.GetBytes(long.MaxValue), .. "{}"u8]);
                break;
            case "a huge shape":
                byte[] header = """{"w":{"dtype":"F32","shape":[9223372036854775807,9223372036854775807],"data_offsets":[0,4]}}"""u8.ToArray();
                File.WriteAllBytes(evil, [.. BitConverter.GetBytes((long)header.Length), .. header, 0, 0, 0, 0]);
                break;
            default:
                Shell($"cp '{_folder["inbox/1/a.safetensors"]}' \"$(printf '{_folder["inbox/1/"]}x\\377.safetensors')\"");
                id = "x\ufffd";
                break;
        }

        Ready("1");
        using FolderWorker worker = Worker(options: new RoundOptions { OnUnreadable = FaultPolicy.DropClient, Quorum = 2 });
        await worker.ScanAsync(default);
        Assert.That(Names("done"), Is.EqualTo(new[] { "1" }));
        Assert.That(Global(), Is.EqualTo(expected));
        RoundReport report = RoundReport.FromJson(File.ReadAllText(_folder["done/1/report.json"]));
        Assert.That(report.Clients.Single(client => !client.Included).Reason, Does.StartWith($"Client '{id}'"));
        // .NET cannot name what is not UTF-8
        Shell($"rm -r '{_folder["done/1"]}'");
    }

    [Test]
    public async Task ALinkIsRefusedWhereThePolicyIsToReject()
    {
        Put("1", "a", 11);
        File.CreateSymbolicLink(_folder["inbox/1/b.safetensors"], "/etc/passwd");
        Ready("1");
        using FolderWorker worker = Worker();
        await worker.ScanAsync(default);
        Assert.That(File.ReadAllText(_folder["failed/1/refusal.txt"]), Does.Contain($"'{Path.Combine("1", "b.safetensors")}' is a symbolic link; a file was expected."));
    }

    /// <summary>
    /// What no round's folder may be or hold: the round is put aside, nothing is followed or overwritten, and the next round runs.
    /// </summary>
    [TestCase("report.json"), TestCase("refusal.txt"), TestCase("base"), TestCase("REPORT.JSON")]
    public async Task AReservedNameIsRefused(string name)
    {
        Put("1", "a", 11);
        File.WriteAllText(_folder[$"inbox/1/{name}"], "sha256:0");
        Ready("1");
        await RunWithAnotherAsync($"The round's folder holds '{name}', a name that is reserved for the worker; only updates and 'ready' were expected.\n");
    }

    [TestCase("refusal.txt", false), TestCase("refusal.txt", true), TestCase("report.json", true)]
    public async Task AReservedNameThatIsAFolderOrALinkIsNotFollowed(string name, bool link)
    {
        Put("1", "a", 11);
        Ready("1");
        string target = _folder.Put("target", "untouched"u8);
        if (link)
            File.CreateSymbolicLink(_folder[$"inbox/1/{name}"], target);
        else
            Directory.CreateDirectory(_folder[$"inbox/1/{name}"]);
        await RunWithAnotherAsync($"The round's folder holds '{name}', a name that is reserved for the worker; only updates and 'ready' were expected.\n");
        Assert.That(File.ReadAllText(target), Is.EqualTo("untouched"));
    }

    [TestCase(false), TestCase(true)]
    public async Task ReadyIsAFile(bool link)
    {
        Put("1", "a", 11);
        if (link)
            File.CreateSymbolicLink(_folder["inbox/1/ready"], "/nowhere");
        else
            Directory.CreateDirectory(_folder["inbox/1/ready"]);
        await RunWithAnotherAsync($"The round's 'ready' is a {(link ? "symbolic link" : "folder")}; a file was expected.\n");
    }

    [Test]
    public async Task ARoundsFolderThatIsALinkIsNotFollowed()
    {
        Directory.CreateDirectory(_folder["elsewhere"]);
        Rounds.Model(1).SaveTo(TensorSink.ToFile(_folder["elsewhere/a.safetensors"]));
        File.WriteAllBytes(_folder["elsewhere/ready"], []);
        Directory.CreateSymbolicLink(_folder["inbox/1"], _folder["elsewhere"]);
        await RunWithAnotherAsync("The round's folder '1' is a symbolic link; a folder was expected.\n");
        Assert.That(Directory.GetFileSystemEntries(_folder["elsewhere"]), Has.Length.EqualTo(2), "nothing was written through the link");
        Assert.That(new DirectoryInfo(_folder["failed/1/1"]).LinkTarget, Is.EqualTo(_folder["elsewhere"]));
    }

    [TestCase("007"), TestCase("+7"), TestCase("-7"), TestCase("7.0"), TestCase("7 "), TestCase("\uff19"), TestCase("9223372036854775808"), TestCase("seven")]
    public async Task ARoundsNameIsItsNumberAsItIsUsuallyWritten(string name)
    {
        Put(name, "a", 71);
        Ready(name);
        Directory.CreateDirectory(_folder["done/7"]);
        using FolderWorker worker = Worker();
        await worker.ScanAsync(default);
        Assert.That(File.ReadAllText(_folder[$"failed/{name}/refusal.txt"]), Is.EqualTo($"The round's folder is named '{name}'; a whole number such as 7 was expected.\n"));
        Assert.That(Names("done"), Is.EqualTo(new[] { "7" }));
    }

    /// <summary>Exceptions that the library does not document put their round aside; those behind it run.</summary>
    [TestCase(typeof(OverflowException)), TestCase(typeof(OutOfMemoryException)), TestCase(typeof(NullReferenceException)), TestCase(typeof(IOException)),
     TestCase(typeof(UnauthorizedAccessException)), TestCase(typeof(InvalidOperationException)), TestCase(typeof(OperationCanceledException))]
    public async Task AnUnexpectedExceptionPutsTheRoundAside(Type exception)
    {
        Put("1", "evil", 11);
        Ready("1");
        Put("2", "a", 21);
        Ready("2");
        byte[] expected = await ExpectedAsync(_folder["inbox/2"], 2);
        using FolderWorker worker = Worker(new Fragile(() => (Exception)Activator.CreateInstance(exception)!));
        await worker.ScanAsync(default);
        Assert.That(File.ReadAllText(_folder["failed/1/refusal.txt"]), Does.StartWith($"The round failed unexpectedly ({exception.Name}): "));
        Assert.That(Names("done"), Is.EqualTo(new[] { "2" }));
        Assert.That(Global(), Is.EqualTo(expected));
        AssertNoTemporaries();
    }

    [Test]
    public async Task ARefusalThatTheDiskCausesLetsAllRoundsWait()
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

    /// <summary>
    /// A round that cannot be moved to <c>failed</c> is left where it is, is not run again at each scan, and blocks nobody.
    /// </summary>
    [Test]
    public async Task ARoundThatCannotBePutAsideBlocksNobody()
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

    /// <summary>The folder that vanishes while its round is aggregated: the round is in the model, so its report is kept.</summary>
    [Test]
    public async Task ARoundWhoseFolderIsRemovedKeepsItsReport()
    {
        Put("1", "a", 11);
        Ready("1");
        byte[] expected = await ExpectedAsync(_folder["inbox/1"], 1);
        using FolderWorker worker = Worker(new Meanwhile(() => Directory.Delete(_folder["inbox/1"], recursive: true)));
        await worker.ScanAsync(default);
        Assert.That(Global(), Is.EqualTo(expected));
        Assert.That(RoundReport.FromJson(File.ReadAllText(_folder["done/1/report.json"])).Round, Is.EqualTo(1));
    }

    /// <summary>What is put in the folder while its round is aggregated is neither followed nor taken for the worker's.</summary>
    [TestCase(false), TestCase(true)]
    public async Task AReportThatIsPlantedMeanwhileIsReplaced(bool folder)
    {
        Put("1", "a", 11);
        Ready("1");
        string target = _folder.Put("target", "untouched"u8);
        using FolderWorker worker = Worker(new Meanwhile(() =>
        {
            if (folder)
                Directory.CreateDirectory(_folder["inbox/1/report.json"]);
            else
                File.CreateSymbolicLink(_folder["inbox/1/report.json"], target);
        }));
        await worker.ScanAsync(default);
        Assert.That(RoundReport.FromJson(File.ReadAllText(_folder["done/1/report.json"])).Round, Is.EqualTo(1));
        Assert.That(File.ReadAllText(target), Is.EqualTo("untouched"));
    }

    [Test]
    public async Task AFolderOnItsWayIsNotRead()
    {
        Put(".1", "a", 11);
        Ready(".1");
        using FolderWorker worker = Worker();
        await worker.ScanAsync(default);
        Assert.That(Names("inbox"), Is.EqualTo(new[] { ".1" }));
    }

    [Test]
    public async Task QuietIsKnownAlsoWhereALinkLeadsNowhere()
    {
        var clock = new HandClock();
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

    /// <summary>The platform ends a host whose worker fails as if it had been asked to stop.</summary>
    [Test]
    [CancelAfter(60_000)]
    public async Task AWorkerThatFailsHasAnExitCode()
    {
        using (File.Open(_folder[".lock"], FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None))
        {
            Assert.That(await FolderRoundsHost.RunAsync(Build()), Is.EqualTo(1), "another worker has the folder");
            using Process worker = Start();
            await worker.WaitForExitAsync();
            Assert.That(worker.ExitCode, Is.EqualTo(1));
            Assert.That(await worker.StandardError.ReadToEndAsync(), Does.Contain("another worker may have it"));
        }

        Assert.That(await FolderRoundsHost.RunAsync(Build(("FedICU:Strategy", "none"))), Is.EqualTo(1));
        IHost host = Build();
        Task<int> running = FolderRoundsHost.RunAsync(host);
        host.Services.GetRequiredService<IHostApplicationLifetime>().StopApplication();
        Assert.That(await running, Is.Zero);
    }

    [Test]
    public async Task RoundsThatCannotBeAreRefusedWithASentence()
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
        Assert.That(File.ReadAllText(_folder["failed/first/refusal.txt"]), Is.EqualTo("The round's folder is named 'first'; a whole number such as 7 was expected.\n"));
        Assert.That(File.ReadAllText(_folder["failed/9.2/refusal.txt"]), Is.EqualTo("Round 9 is done already.\n"));
        Assert.That(File.ReadAllText(_folder["failed/8/refusal.txt"]), Does.Contain("client"));
        Assert.That(Global(), Is.EqualTo(before));
    }

    [Test]
    public async Task WhereTheGlobalModelCannotBeReadRoundsWait()
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

    [Test]
    public async Task UploadsUnderWayAreNotRead()
    {
        Put("1", "a", 11);
        File.WriteAllBytes(_folder["inbox/1/.b.safetensors"], [0]);
        File.WriteAllBytes(_folder["inbox/1/b.safetensors.part"], [0]);
        Ready("1");
        using FolderWorker worker = Worker();
        await worker.ScanAsync(default);
        Assert.That(RoundReport.FromJson(File.ReadAllText(_folder["done/1/report.json"])).Clients.Select(client => client.Id), Is.EqualTo(new[] { "a" }));
    }

    [Test]
    public async Task ASecondWorkerIsKeptOut()
    {
        using IHost first = await StartAsync();
        await UntilAsync(() => File.Exists(_folder[".lock"]));
        using FolderWorker second = Worker();
        await second.StartAsync(default);
        Assert.That(async () => await second.ExecuteTask!, Throws.TypeOf<FedIcuException>().With.Message.Contains("another worker may have it"));
        await first.StopAsync();
    }

    [TestCase("Folder:Path", "", "Option 'Folder:Path' is missing; the folder to watch was expected.")]
    [TestCase("Folder:Poll", "0", "Option 'Folder:Poll' is no time to wait; more than 0 was expected.")]
    [TestCase("Folder:QuietTime", "-1", "Option 'Folder:QuietTime' is negative; at least 0 was expected.")]
    [TestCase("FedICU:Strategy", "none", "The strategy 'none' is unknown; fedavg, fedprox, fedicu are known.")]
    public void OptionsThatAreWrongEndTheStart(string name, string value, string sentence)
    {
        using IHost host = Build((name, value));
        Assert.That(() => host.StartAsync(), Throws.TypeOf<OptionsValidationException>().With.Message.EqualTo(sentence));
    }

    private IHost Build(params (string Name, string Value)[] values)
    {
        var builder = new HostApplicationBuilder(new HostApplicationBuilderSettings { DisableDefaults = true });
        builder.Configuration.AddInMemoryCollection(new Dictionary<string, string?>
        {
            ["FedICU:Strategy"] = "fedicu",
            ["Folder:Path"] = _folder.FullName,
            ["Folder:Poll"] = "00:00:00.02",
        });
        builder.Configuration.AddInMemoryCollection(values.Select(pair => KeyValuePair.Create(pair.Name, (string?)pair.Value)));
        builder.AddFolderRounds();
        return builder.Build();
    }

    private async Task<IHost> StartAsync()
    {
        IHost host = Build();
        await host.StartAsync();
        return host;
    }

    private FolderWorker Worker(IAggregator? aggregator = null, RoundOptions? options = null, TimeSpan? quiet = null, TimeProvider? clock = null) => new(
        aggregator ?? new FedIcuAggregator(), options ?? new RoundOptions(), Options.Create(new FolderOptions { Path = _folder.FullName, QuietTime = quiet }),
        clock ?? TimeProvider.System, NullLogger<FolderWorker>.Instance);

    private void Put(string round, string client, int seed)
    {
        Directory.CreateDirectory(_folder[$"inbox/{round}"]);
        Rounds.Model(seed, (MetadataKeys.Examples, "10")).SaveTo(TensorSink.ToFile(_folder[$"inbox/{round}/{client}.safetensors"]));
    }

    private void Ready(string round) => File.WriteAllBytes(_folder[$"inbox/{round}/ready"], []);

    /// <summary>Runs a round and leaves the disk as a crash after a step would: the report that the round has is returned.</summary>
    private async Task<string> CrashAsync(string round, string step)
    {
        string digest;
        using (TensorSource global = TensorSource.Open(_folder["global.safetensors"]))
            digest = ModelDigest.Compute(global);
        using (FolderWorker worker = Worker())
            await worker.ScanAsync(default);
        string report = File.ReadAllText(_folder[$"done/{round}/report.json"]);
        File.WriteAllText(_folder[".round.json"], JsonSerializer.Serialize(new WorkState { Round = round, Base = digest, Attempts = 1, Report = report }));
        if (step != "the report is there")
            File.Delete(_folder[$"done/{round}/report.json"]);
        if (step == "the model is in its place")
            Directory.Move(_folder[$"done/{round}"], _folder[$"inbox/{round}"]);
        return report;
    }

    /// <summary>Scans with round 2 beside round 1: the first is put aside with that sentence, the second is done.</summary>
    private async Task RunWithAnotherAsync(string sentence)
    {
        Put("2", "a", 21);
        Ready("2");
        byte[] expected = await ExpectedAsync(_folder["inbox/2"], 2);
        using FolderWorker worker = Worker();
        await worker.ScanAsync(default);
        Assert.That(File.ReadAllText(_folder["failed/1/refusal.txt"]), Is.EqualTo(sentence));
        Assert.That((Names("inbox"), Names("done")), Is.EqualTo((Array.Empty<string>(), new[] { "2" })));
        Assert.That(Global(), Is.EqualTo(expected));
    }

    /// <summary>The sample as a process of its own.</summary>
    private Process Start() => Process.Start(new ProcessStartInfo(
        Environment.ProcessPath is { } host && Path.GetFileNameWithoutExtension(host) == "dotnet" ? host : "dotnet",
        [
            Path.Combine(AppContext.BaseDirectory, "FolderRounds.dll"), "--Folder:Path", _folder.FullName, "--Folder:Poll", "00:00:00.01", "--FedICU:Strategy", "fedicu",
            "--FedICU:Settings:tau", "0.1", "--FedICU:Settings:quorum", "1",
        ])
    { RedirectStandardError = true, RedirectStandardOutput = true })!;

    private static void Shell(string command)
    {
        using Process shell = Process.Start("/bin/sh", ["-c", command]);
        shell.WaitForExit();
        Assert.That(shell.ExitCode, Is.Zero);
    }

    // the lock of the model's own place is no temporary
    private void AssertNoTemporaries() => Assert.That(
        _folder.Names().Where(name => !name.EndsWith(".fedicu-lock", StringComparison.Ordinal) && name != ".lock"), Is.EqualTo(new[] { "done", "failed", "global.safetensors", "inbox" }));

    private byte[] Global() => File.ReadAllBytes(_folder["global.safetensors"]);

    private string[] Names(string folder) => [.. new DirectoryInfo(_folder[folder]).GetFileSystemInfos().Select(item => item.Name).Order(StringComparer.Ordinal)];

    /// <summary>The file that the library called directly writes of a round's folder.</summary>
    private async Task<byte[]> ExpectedAsync(string folder, long number)
    {
        using var place = new TempFolder();
        using TensorSource global = TensorSource.Open(_folder["global.safetensors"]);
        var round = new AggregationRound(global, new RoundOptions { Round = number });
        foreach (string path in Directory.GetFiles(folder, "*.safetensors"))
            round.Add(ClientUpdate.FromFile(Path.GetFileNameWithoutExtension(path), path));
        await new FedIcuAggregator().AggregateAsync(round, TensorSink.ToFile(place["next.safetensors"]));
        return File.ReadAllBytes(place["next.safetensors"]);
    }

    private static async Task UntilAsync(Func<bool> condition)
    {
        for (int i = 0; !condition(); i++)
        {
            Assert.That(i, Is.LessThan(3000), "nothing happened for a minute");
            await Task.Delay(20);
        }
    }

    private sealed class HandClock : TimeProvider
    {
        public long Now { get; set; }

        public override long TimestampFrequency => TimeSpan.TicksPerSecond;

        public override long GetTimestamp() => Now;
    }

    /// <summary>A round that a stop of the host cuts short.</summary>
    private sealed class CutShort(CancellationTokenSource stop) : IAggregator
    {
        public string Name => "cut-short";

        public async Task<AggregationResult> AggregateAsync(AggregationRound round, TensorSink output, CancellationToken cancellationToken = default)
        {
            await stop.CancelAsync();
            throw new OperationCanceledException(cancellationToken);
        }
    }

    /// <summary>FedICU, but for rounds with a client of the name <c>evil</c>.</summary>
    private sealed class Fragile(Func<Exception> failure) : IAggregator
    {
        public string Name => "fragile";

        public Task<AggregationResult> AggregateAsync(AggregationRound round, TensorSink output, CancellationToken cancellationToken = default) =>
            round.Updates.Any(update => update.Id == "evil") ? throw failure() : new FedIcuAggregator().AggregateAsync(round, output, cancellationToken);
    }

    /// <summary>FedICU, with something that happens before it ends.</summary>
    private sealed class Meanwhile(Action action) : IAggregator
    {
        public string Name => "meanwhile";

        public async Task<AggregationResult> AggregateAsync(AggregationRound round, TensorSink output, CancellationToken cancellationToken = default)
        {
            AggregationResult result = await new FedIcuAggregator().AggregateAsync(round, output, cancellationToken);
            action();
            return result;
        }
    }
}
