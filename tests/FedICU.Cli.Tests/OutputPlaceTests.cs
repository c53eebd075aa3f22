using System.Diagnostics;
using System.Net.Sockets;

namespace FedICU.Cli.Tests;

/// <summary>
/// Writes outputs to links, pipes, sockets and devices. None of them may be replaced by a regular file.
/// </summary>
[Platform(Exclude = "Win", Reason = "links, pipes and devices of Unix")]
public sealed class OutputPlaceTests
{
    private Place _place = null!;

    [SetUp]
    public void SetUp() => _place = new Place();

    [TearDown]
    public void TearDown() => _place.Dispose();

    [Test]
    public void AModelCannotBeWrittenToAPipe()
    {
        string pipe = Pipe("p.safetensors");
        Tool.Run(Round(pipe)).Failed(1, $"--output '{pipe}' is not a regular file");
        string[] mask = ["mask", "--global", _place.Global, "--local", _place.A, "--output"];
        Tool.Run([.. mask, pipe]).Failed(1, $"--output '{pipe}' is not a regular file");
        Tool.Run([.. mask, _place["out.safetensors"], "--momentum-out", pipe]).Failed(1, $"--momentum-out '{pipe}' is not a regular file");
        Tool.Run(Round("/dev/null")).Failed(1, "--output '/dev/null' is not a regular file");
        Directory.CreateDirectory(_place["folder"]);
        Pipe("folder/model.safetensors");
        Tool.Run(Round(_place["folder"])).Failed(1, "model.safetensors' is not a regular file");
        Assert.That(File.Exists(_place["out.safetensors"]), Is.False);
        Assert.That(Read(pipe, () => File.WriteAllText(pipe, "still a pipe")), Is.EqualTo("still a pipe"));
    }

    [Test]
    public void AModelCannotBeWrittenToASocket()
    {
        using var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        socket.Bind(new UnixDomainSocketEndPoint(_place["s.safetensors"]));
        Tool.Run(Round(_place["s.safetensors"])).Failed(1, "is not a regular file");
    }

    [Test]
    public void AReportIsWrittenDirectlyToAPipe()
    {
        string pipe = Pipe("p");
        string report = Read(pipe, () => Tool.Run([.. Round(_place["out.safetensors"]), "--report", pipe]).Succeeded());
        Assert.That(RoundReport.FromJson(report).Clients, Has.Count.EqualTo(1));
        Assert.That(_place.Names(), Does.Contain("p").And.None.Contains(".tmp"));
        Assert.That(Read(pipe, () => File.WriteAllText(pipe, "still a pipe")), Is.EqualTo("still a pipe"));
    }

    [Test]
    public void WaitingForAPipesReaderCanBeCancelled()
    {
        using var cancellation = new CancellationTokenSource(TimeSpan.FromMilliseconds(200));
        string pipe = Pipe("p");
        Tool.Run(cancellation.Token, [.. Round(_place["out.safetensors"]), "--report", pipe]).Failed(130, "Cancelled");
        Assert.That(File.Exists(_place["out.safetensors"]), Is.False);
        // releases the thread that still waits for a reader
        File.OpenHandle(pipe, FileMode.Open, FileAccess.Read, FileShare.ReadWrite).Dispose();
    }

    [Test]
    public void AReportCanGoToTheStandardOutput([Values] bool toFile)
    {
        string target = toFile ? " > " + _place["shown"] : "";
        string[] line = [.. Round(_place["out.safetensors"]), "--report", "/dev/stdout"];
        using Process process = Tool.Start("sh", ["-c", $"{Tool.ShellCommand} {string.Join(' ', line)}{target}"]);
        Run run = Tool.End(process).Succeeded();
        string shown = toFile ? File.ReadAllText(_place["shown"]) : run.Output;
        Assert.That(shown, Does.StartWith("{").And.Contain("wrote"), "the report, then the table");
        Assert.That(RoundReport.FromJson(shown[..(shown.IndexOf("\n}", StringComparison.Ordinal) + 2)]).Clients, Has.Count.EqualTo(1));
        Tool.Run([.. Round(_place["out.safetensors"]), "--report", "/dev/null"]).Succeeded();
        Assert.That(File.GetAttributes("/dev/null"), Is.EqualTo(FileAttributes.Normal));
    }

    [Test]
    public void ALinkIsReplacedOrFollowedAsRequested([Values] bool follow)
    {
        _place.Write("store/old.safetensors", Place.Like());
        _place.Write("store/old.json", "{}");
        File.CreateSymbolicLink(_place["chain.safetensors"], "store/old.safetensors");
        File.CreateSymbolicLink(_place["out.safetensors"], "chain.safetensors");
        File.CreateSymbolicLink(_place["r.json"], "store/old.json");
        byte[] old = File.ReadAllBytes(_place["store/old.safetensors"]);
        string[] line = [.. Round(_place["out.safetensors"]), "--report", _place["r.json"]];
        Tool.Run(follow ? [.. line, "--follow-links"] : line).Succeeded();
        Assert.That(new FileInfo(_place["chain.safetensors"]).LinkTarget, Is.Not.Null);
        foreach (string link in (string[])["out.safetensors", "r.json"])
            Assert.That(new FileInfo(_place[link]).LinkTarget, follow ? Is.Not.Null : Is.Null, link);
        Assert.That(
            File.ReadAllBytes(_place["store/old.safetensors"]), Is.EqualTo(follow ? File.ReadAllBytes(_place["out.safetensors"]) : old));
        Assert.That(File.ReadAllText(_place["store/old.json"]), Is.EqualTo(follow ? File.ReadAllText(_place["r.json"]) : "{}"));
        Assert.That(RoundReport.FromJson(File.ReadAllText(_place["r.json"])).Clients, Has.Count.EqualTo(1));
        Assert.That(Directory.GetFiles(_place["store"]), Has.Length.EqualTo(2));
    }

    [Test]
    public void ALinkToAnInputCountsAsTheInput()
    {
        File.CreateSymbolicLink(_place["link.safetensors"], "a.safetensors");
        Directory.CreateSymbolicLink(_place["here"], ".");
        foreach (string output in (string[])["link.safetensors", "here/a.safetensors", "here/here/link.safetensors"])
        {
            Tool.Run(Round(_place[output])).Failed(1, "--output", output, "the update of client", "itself");
            Tool.Run([.. Round(_place["out.safetensors"]), "--report", _place[output]]).Failed(1, "--report", output, "itself");
        }
    }

    [Test]
    public void AModelsShardsCountAsItsFiles()
    {
        foreach (string folder in (string[])["big", "k"])
        {
            _place.Write(folder + "/one.safetensors", new MemoryModel { { "x", [2], new float[] { 1, 2 } } });
            _place.Write(folder + "/model.safetensors.index.json", """{"weight_map":{"x":"one.safetensors"}}""");
        }

        const string Index = "k/model.safetensors.index.json", Shard = "k/one.safetensors";
        Aggregate("k", Shard).Failed(1, "the update of client 'k' itself");
        Aggregate(Index, Shard).Failed(1, "the update of client 'k' itself");
        Aggregate(Shard, "k").Failed(1, "the update of client 'k' itself");
        // without the index the file is no shard, and the output's shards have other names
        File.Delete(_place[Index]);
        Aggregate(Shard, "k").Succeeded();
        Assert.That(Directory.GetFiles(_place["k"]), Has.Length.EqualTo(3).And.One.EndsWith("/one.safetensors"));

        Run Aggregate(string client, string output) => Tool.Run(
            "aggregate", "--strategy", "fedavg", "--global", _place["big"], "--client", "k=" + _place[client], "--output", _place[output]);
    }

    [Test]
    public void AFullStandardOutputIsReported()
    {
        using var error = new StringWriter();
        int code = Program.RunAsync(["inspect", _place.A], new FullWriter(), error).GetAwaiter().GetResult();
        string message = $"fedicu: The standard output cannot be written: the disk is full.{Environment.NewLine}";
        Assert.That((code, error.ToString()), Is.EqualTo((1, message)));
    }

    private string[] Round(string output) => _place.RoundLine([_place.A], output, strategy: "fedavg");

    private string Pipe(string name)
    {
        using Process make = Process.Start("mkfifo", [_place[name]]);
        make.WaitForExit();
        Assert.That(make.ExitCode, Is.Zero);
        return _place[name];
    }

    /// <summary>Reads from a pipe while an action writes to it.</summary>
    private static string Read(string pipe, Action write)
    {
        Task<string> read = Task.Run(() => File.ReadAllText(pipe));
        write();
        Assert.That(read.Wait(TimeSpan.FromMinutes(1)), "the pipe was not written to");
        return read.Result;
    }

    private sealed class FullWriter : StringWriter
    {
        public override void Write(char[] buffer, int index, int count) => throw Full;

        public override void Write(string? value) => throw Full;

        public override void WriteLine(string? value) => throw Full;

        private static IOException Full => new("No space left on device", 28);
    }
}
