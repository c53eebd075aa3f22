using System.Diagnostics;
using FedICU.Tests.Files;
using FolderRounds;

namespace FedICU.Extensions.Tests;

/// <summary>
/// Puts files, links and folders into the inbox of samples/FolderRounds that a client must not put there.
/// </summary>
internal sealed class UntrustedFolderTests : FolderWorkerFixture
{
    // on-unreadable applies to such an upload: the round continues without it, and its report says why
    [TestCase("a link"), TestCase("a link to nothing"), TestCase("a loop of links"), TestCase("a folder"), TestCase("a link to a folder")]
    [TestCase("a pipe"), TestCase("empty"), TestCase("text"), TestCase("a huge header"), TestCase("a huge shape")]
    [TestCase("a name that is not UTF-8")]
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
                byte[] header =
                    """{"w":{"dtype":"F32","shape":[9223372036854775807,9223372036854775807],"data_offsets":[0,4]}}"""u8.ToArray();
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
        // .NET cannot delete a file whose name is not UTF-8
        Shell($"rm -r '{_folder["done/1"]}'");
    }

    [Test]
    public async Task ALinkRefusesTheRoundUnderTheRejectPolicy()
    {
        Put("1", "a", 11);
        File.CreateSymbolicLink(_folder["inbox/1/b.safetensors"], "/etc/passwd");
        Ready("1");
        using FolderWorker worker = Worker();
        await worker.ScanAsync(default);
        Assert.That(
            File.ReadAllText(_folder["failed/1/refusal.txt"]),
            Does.Contain($"'{Path.Combine("1", "b.safetensors")}' is a symbolic link; a file was expected."));
    }

    // in this and the next tests the round is refused, no link is followed, no file is overwritten, and the next round
    // runs
    [TestCase("report.json"), TestCase("refusal.txt"), TestCase("base"), TestCase("REPORT.JSON")]
    public async Task AReservedNameIsRefused(string name)
    {
        Put("1", "a", 11);
        File.WriteAllText(_folder[$"inbox/1/{name}"], "sha256:0");
        Ready("1");
        await RunWithAnotherAsync(ReservedName(name));
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
        await RunWithAnotherAsync(ReservedName(name));
        Assert.That(File.ReadAllText(target), Is.EqualTo("untouched"));
    }

    private static string ReservedName(string name) =>
        $"The round's folder holds '{name}', a name that is reserved for the worker; only updates and 'ready' were expected.\n";

    [TestCase(false), TestCase(true)]
    public async Task ReadyMustBeAFile(bool link)
    {
        Put("1", "a", 11);
        if (link)
            File.CreateSymbolicLink(_folder["inbox/1/ready"], "/nowhere");
        else
            Directory.CreateDirectory(_folder["inbox/1/ready"]);
        await RunWithAnotherAsync($"The round's 'ready' is a {(link ? "symbolic link" : "folder")}; a file was expected.\n");
    }

    [Test]
    public async Task ARoundFolderThatIsALinkIsNotFollowed()
    {
        Directory.CreateDirectory(_folder["elsewhere"]);
        Rounds.Model(1).SaveTo(TensorSink.ToFile(_folder["elsewhere/a.safetensors"]));
        File.WriteAllBytes(_folder["elsewhere/ready"], []);
        Directory.CreateSymbolicLink(_folder["inbox/1"], _folder["elsewhere"]);
        await RunWithAnotherAsync("The round's folder '1' is a symbolic link; a folder was expected.\n");
        Assert.That(Directory.GetFileSystemEntries(_folder["elsewhere"]), Has.Length.EqualTo(2), "nothing was written through the link");
        Assert.That(new DirectoryInfo(_folder["failed/1/1"]).LinkTarget, Is.EqualTo(_folder["elsewhere"]));
    }

    [TestCase("007"), TestCase("+7"), TestCase("-7"), TestCase("7.0"), TestCase("7 "), TestCase("\uff19")]
    [TestCase("9223372036854775808"), TestCase("seven")]
    public async Task ARoundFolderIsNamedByAPlainWholeNumber(string name)
    {
        Put(name, "a", 71);
        Ready(name);
        Directory.CreateDirectory(_folder["done/7"]);
        using FolderWorker worker = Worker();
        await worker.ScanAsync(default);
        Assert.That(
            File.ReadAllText(_folder[$"failed/{name}/refusal.txt"]),
            Is.EqualTo($"The round's folder is named '{name}'; a whole number such as 7 was expected.\n"));
        Assert.That(Names("done"), Is.EqualTo(new[] { "7" }));
    }

    // the folder disappears during the aggregation; the round is in the model, so its report is kept
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

    // a link put into the folder during the aggregation is not followed, and a folder there is not taken for the
    // worker's report
    [TestCase(false), TestCase(true)]
    public async Task AReportPlantedDuringTheRoundIsReplaced(bool folder)
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
    public async Task AFolderWithADotNameIsNotRead()
    {
        Put(".1", "a", 11);
        Ready(".1");
        using FolderWorker worker = Worker();
        await worker.ScanAsync(default);
        Assert.That(Names("inbox"), Is.EqualTo(new[] { ".1" }));
    }

    [Test]
    public async Task UnfinishedUploadsAreNotRead()
    {
        Put("1", "a", 11);
        File.WriteAllBytes(_folder["inbox/1/.b.safetensors"], [0]);
        File.WriteAllBytes(_folder["inbox/1/b.safetensors.part"], [0]);
        Ready("1");
        using FolderWorker worker = Worker();
        await worker.ScanAsync(default);
        RoundReport report = RoundReport.FromJson(File.ReadAllText(_folder["done/1/report.json"]));
        Assert.That(report.Clients.Select(client => client.Id), Is.EqualTo(new[] { "a" }));
    }

    /// <summary>
    /// Scans with a valid round 2 beside round 1. The first must be refused with the message, the second must succeed.
    /// </summary>
    private async Task RunWithAnotherAsync(string message)
    {
        Put("2", "a", 21);
        Ready("2");
        byte[] expected = await ExpectedAsync(_folder["inbox/2"], 2);
        using FolderWorker worker = Worker();
        await worker.ScanAsync(default);
        Assert.That(File.ReadAllText(_folder["failed/1/refusal.txt"]), Is.EqualTo(message));
        Assert.That((Names("inbox"), Names("done")), Is.EqualTo((Array.Empty<string>(), new[] { "2" })));
        Assert.That(Global(), Is.EqualTo(expected));
    }

    private static void Shell(string command)
    {
        using Process shell = Process.Start("/bin/sh", ["-c", command]);
        shell.WaitForExit();
        Assert.That(shell.ExitCode, Is.Zero);
    }

    /// <summary>Runs FedICU, then an action before it returns.</summary>
    private sealed class Meanwhile(Action action) : IAggregator
    {
        public string Name => "meanwhile";

        public async Task<AggregationResult> AggregateAsync(
            AggregationRound round, TensorSink output, CancellationToken cancellationToken = default)
        {
            AggregationResult result = await new FedIcuAggregator().AggregateAsync(round, output, cancellationToken);
            action();
            return result;
        }
    }
}
