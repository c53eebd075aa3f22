using System.Diagnostics;

namespace FedICU.Cli.Tests;

/// <summary>
/// Writes outputs that could be incomplete, hidden by another file, or written through a link (docs/adr/0015). The
/// inputs are those of public bug reports, from shared/cases or created here.
/// </summary>
public sealed class PublishingTests
{
    private Place _place = null!;

    [SetUp]
    public void SetUp() => _place = new Place();

    [TearDown]
    public void TearDown() => _place.Dispose();

    [Test]
    public void AnIndexKeepsItsName([Values] bool remade)
    {
        const string Index = "diffusion_pytorch_model.safetensors.index.json";
        PutRound(remade, "diffusers-index", Index);
        Tool.Run(Round("g", "other")).Succeeded();
        Tool.Run(Round("g", "g")).Succeeded();
        Assert.That(Tool.Run(Round("g", "g")).Succeeded().Output, Does.Contain("wrote " + _place["g/" + Index]));
        foreach (string folder in (string[])["g", "other"])
        {
            string[] names =
                [.. Directory.GetFileSystemEntries(_place[folder]).Select(path => Path.GetFileName(path)).Order(StringComparer.Ordinal)];
            Assert.That(names, Has.Length.EqualTo(3).And.One.EqualTo(Index));
            Assert.That(names.Take(2), Is.All.Match("^diffusion_pytorch_model-[0-9a-f]{12}-0000[12]-of-00002.safetensors$"));
            Tool.Run("inspect", _place[folder]).Succeeded();
        }

        Assert.That(Tool.Run("diff", _place["g"], _place["other"]).Succeeded().Lines[^1], Does.Not.Contain("differ in"));
    }

    [Test]
    [CancelAfter(300_000)]
    public void AfterAKillTheFolderHoldsTheOldOrTheNewRound()
    {
        PutRound(remade: false, "", "diffusion_pytorch_model.safetensors.index.json");
        string[] digests = [Digest("g"), ""];
        Tool.Run(Round("g", "next")).Succeeded();
        digests[1] = Digest("next");
        var random = new Random(5);
        var watch = Stopwatch.StartNew();
        Tool.RunProcess(Round("g", "again")).Succeeded();
        int whole = (int)watch.ElapsedMilliseconds;
        for (int kill = 0; kill < 10; kill++)
        {
            using Process process = Tool.Start(Round("a", "g"));
            Thread.Sleep(whole / 2 + random.Next(whole));
            process.Kill();
            process.WaitForExit();
            Assert.That(Digest("g"), Is.AnyOf(digests));
        }

        Tool.Run(Round("a", "g")).Succeeded();
        Assert.That(Directory.GetFileSystemEntries(_place["g"]), Has.Length.EqualTo(3), "the files of killed runs are gone");
    }

    [Test]
    public void ASingleFileBesideTheIndexIsRefusedOrReplaced([Values] bool remade)
    {
        PutRound(remade, "stale-single-file", "model.safetensors.index.json");
        Tool.Run(Round("g", "out")).Succeeded();
        File.Copy(remade ? _place["stale.safetensors"] : _place.A, _place["out/model.safetensors"]);
        string[] before = _place.Names();
        Tool.Run(Round("g", "out")).Failed(1, $"'{_place["out"]}' holds model.safetensors", "--replace");
        Assert.That(_place.Names(), Is.EqualTo(before));
        Tool.Run([.. Round("g", "out"), "--replace"]).Succeeded();
        Assert.That(Directory.GetFileSystemEntries(_place["out"]), Has.Length.EqualTo(3).And.None.EndsWith("/model.safetensors"));

        // and a single file over an index
        Tool.Run(Plain("out")).Failed(1, "holds model.safetensors.index.json", "--replace");
        Tool.Run([.. Plain("out"), "--replace"]).Succeeded();
        Assert.That(Directory.GetFileSystemEntries(_place["out"]).Select(Path.GetFileName), Is.EqualTo((string[])["model.safetensors"]));
    }

    [Test]
    [Platform(Exclude = "Win", Reason = "links need a privilege there")]
    public void ACachedBlobIsNotWrittenThroughItsLink([Values] bool remade, [Values] bool asFolder)
    {
        const string Hub = "hub/models--org--tiny/";
        if (remade)
        {
            Cases.Copy("hub-cache", _place[""]);
        }
        else
        {
            _place.Write(Hub + "blobs/0123", File.ReadAllText(_place.Write("empty.json", "{}")));
            File.Copy(_place.Global, _place[Hub + "blobs/0123"], overwrite: true);
            foreach (string revision in (string[])["aaaa", "bbbb"])
            {
                Directory.CreateDirectory(_place[Hub + "snapshots/" + revision]);
                File.CreateSymbolicLink(_place[Hub + $"snapshots/{revision}/model.safetensors"], "../../blobs/0123");
            }
        }

        Dictionary<string, byte[]> blobs = Directory.GetFiles(_place[Hub + "blobs"]).ToDictionary(path => path, File.ReadAllBytes);
        string file = _place[Hub + "snapshots/aaaa/model.safetensors"], model = asFolder ? _place[Hub + "snapshots/aaaa"] : file;
        string other = Digest(Hub + "snapshots/bbbb"), old = Digest(Hub + "snapshots/aaaa");
        string[] line = ["aggregate", "--strategy", "fedavg", "--global", model, "--client", _place["a.safetensors"], "--output", model];
        Tool.Run(line).Succeeded();
        Assert.That(new FileInfo(file).LinkTarget, Is.Null, "the link is replaced by a file");
        Assert.That(Digest(Hub + "snapshots/aaaa"), Is.Not.EqualTo(old));
        Assert.That(Digest(Hub + "snapshots/bbbb"), Is.EqualTo(other));
        Assert.That(Directory.GetFiles(_place[Hub + "blobs"]), Is.EquivalentTo(blobs.Keys));
        foreach (var (path, bytes) in blobs)
            Assert.That(File.ReadAllBytes(path), Is.EqualTo(bytes), path);

        // with --follow-links the link is followed
        string link = _place[Hub + "snapshots/bbbb/model.safetensors"];
        string[] follow = ["aggregate", "--strategy", "fedavg", "--global", link, "--client", _place["a.safetensors"], "--output", link];
        Tool.Run([.. follow, "--follow-links"]).Succeeded();
        Assert.That(new FileInfo(link).LinkTarget, Is.Not.Null);
        Assert.That(blobs.Keys.Count(path => !File.ReadAllBytes(path).SequenceEqual(blobs[path])), Is.EqualTo(1));
    }

    [Test]
    public void AnOutputOfAnotherRunIsRefused()
    {
        using (new FileStream(_place[".out.fedicu-lock"], FileMode.Create, FileAccess.ReadWrite, FileShare.None))
        {
            Tool.Run(Plain("out")).Failed(1, $"'{_place["out"]}' is being written by another run");
        }

        Tool.Run([.. Plain("out"), "--report", _place["out/r.json"]]).Succeeded();
        string?[] written = [.. Directory.GetFileSystemEntries(_place["out"]).Select(Path.GetFileName)];
        Assert.That(written, Is.EquivalentTo((string[])["model.safetensors", "r.json"]));
    }

    [TestCase("ulimit -f 1", "", 1, "may write files of at most")]
    [TestCase("ulimit -n 40", "", 1, "The limit of open files (ulimit -n) is 40; at least 128 was expected.")]
    [TestCase(":", "2>&-", 0, "")]
    [TestCase(":", "1>&-", 1, "The standard output cannot be written: it is closed.")]
    [TestCase(":", "<&- 1>&- 2>&-", 1, "")]
    [TestCase(":", "2>/dev/full", 0, "")]
    [Platform("Linux", Reason = "limits and streams of a POSIX shell")]
    public void LimitsAndClosedStreamsGiveOneMessage(string before, string after, int code, string sentence)
    {
        _place.WriteZeros("zero.safetensors", 64, 64);
        string[] names = _place.Names();
        string model = _place["zero.safetensors"], line = $"--global {model} --client {model} --output {_place["out.safetensors"]}";
        using Process process = StartShell(before, $"{line} {after}");
        Run run = Tool.End(process);
        Assert.That((run.Code, run.Error), Is.EqualTo((code, run.Error)));
        Assert.That(run.Error.TrimEnd(), sentence.Length == 0 ? Is.Empty : Does.EndWith(".").And.Contain(sentence).And.Not.Contain("\n"));
        Assert.That(_place.Names().Except(names), Is.SubsetOf((string[])["out.safetensors"]), "no temporaries");
    }

    [Test]
    [Platform("Linux", Reason = "limits of a POSIX shell")]
    public void AReportThatExceedsTheFileSizeLimitGivesOneMessage()
    {
        // the model fits, the report does not: the write itself meets the limit
        IEnumerable<string> clients = Enumerable.Range(0, 40)
            .Select(i => $"--client c{i}={_place.Write($"k{i}.safetensors", Place.Like())}");
        using Process process = StartShell(
            "ulimit -f 8",
            $"--global {_place.Global} {string.Join(' ', clients)} --output {_place["out.safetensors"]} --report {_place["r.json"]}");
        Tool.End(process).Failed(1, "--report", "the file is too large for the process", "the new model was written");
        Assert.That(_place.Names(), Does.Contain("out.safetensors").And.None.Contains(".tmp").And.None.EqualTo("r.json"));
    }

    private string[] Round(string global, string output) =>
    [
        "aggregate", "--strategy", "fedavg", "--global", _place[global], "--client", "a=" + _place["a"], "--client", "b=" + _place["b"],
        "--output", _place[output],
    ];

    private string[] Plain(string output) =>
        ["aggregate", "--strategy", "fedavg", "--global", _place.Global, "--client", _place.A, "--output", _place[output]];

    /// <summary>Starts a round in a shell after another shell command.</summary>
    private static Process StartShell(string before, string line) => Tool.Start(
        "sh", ["-c", $"{before}; {Tool.ShellCommand} aggregate --strategy fedavg {line}"],
        // .NET itself needs this to start under a file size limit below 2 GiB
        start => start.Environment["DOTNET_EnableWriteXorExecute"] = "0");

    private string Digest(string path) => Place.Digest(_place[path]);

    /// <summary>Creates a sharded global model g and clients a and b.</summary>
    private void PutRound(bool remade, string name, string index)
    {
        if (remade)
        {
            Cases.Copy(name, _place[""]);
            return;
        }

        string stem = index[..index.IndexOf('.')];
        foreach (string folder in (string[])["g", "a", "b"])
        {
            string[] shards = [$"{stem}-00001-of-00002.safetensors", $"{stem}-00002-of-00002.safetensors"];
            for (int i = 0; i < 2; i++)
                _place.Write($"{folder}/{shards[i]}", new MemoryModel { { i == 0 ? "x" : "y", [2], new float[] { folder[0], i } } });
            string map = $$"""{"x":"{{shards[0]}}","y":"{{shards[1]}}"}""";
            _place.Write($"{folder}/{index}", $$"""{"metadata":{"total_size":16},"weight_map":{{map}}}""");
        }
    }
}
