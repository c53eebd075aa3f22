using System.Diagnostics;

namespace FedICU.Cli.Tests;

/// <summary>Tests what only a separate process of the tool can show.</summary>
public sealed class ProcessTests
{
    private Place _place = null!;

    [SetUp]
    public void SetUp() => _place = new Place();

    [TearDown]
    public void TearDown() => _place.Dispose();

    [Test]
    public void OutputToAPipeIsPlain()
    {
        Run run = Tool.RunProcess(
            "aggregate", "--strategy", "fedicu", "--global", _place.Global, "--client", _place.A, "--client", _place.B,
            "--output", _place["out.safetensors"]).Succeeded();
        Assert.That(run.Output, Does.Not.Contain('\u001b').And.Contain("wrote"));
        Assert.That(File.Exists(_place["out.safetensors"]));
    }

    [Test]
    public void ExitsWithTheDocumentedCodes()
    {
        Tool.RunProcess("aggregat").Failed(2, "'aggregat'");
        Tool.RunProcess("inspect", _place["nowhere.safetensors"]).Failed(1, "nowhere.safetensors");
    }

    [Test]
    public void PrintsItsVersion() => Assert.That(Tool.RunProcess("--version").Succeeded().Output, Does.Match(@"^\d+\.\d+\.\d+"));

    [Test]
    public void TheNativeBuildNamesWhatItCannotRunWithoutTheManagedOne()
    {
        RefusedException refusal = Assert.Throws<RefusedException>(() => ManagedTool.Run(["devices"], "'fedicu devices'"))!;
        Assert.That(refusal.Message, Does.StartWith("'fedicu devices' needs the managed build of fedicu, which is not at '"));
    }

    [TestCase("HUP", 129)]
    [TestCase("INT", 130)]
    [TestCase("TERM", 143)]
    public void ASignalEndsTheRoundAndLeavesNoFiles(string signal, int code)
    {
        if (OperatingSystem.IsWindows())
            Assert.Ignore("signals are sent with a POSIX shell");
        // 16 million elements, for which the reference backend takes long
        string global = _place.WriteZeros("zero.safetensors", 4096, 4096), client = _place.WriteZeros("client.safetensors", 4096, 4096);
        string[] before = _place.Names();
        using Process process = Tool.Start(
            "aggregate", "--strategy", "fedicu", "--backend", "reference", "--global", global, "--client", client,
            "--output", _place["out.safetensors"], "--report", _place["r.json"]);
        Stopwatch waited = Stopwatch.StartNew();
        while (!process.HasExited && !HasOutput() && waited.Elapsed < TimeSpan.FromMinutes(1))
            Thread.Sleep(10);
        Assert.That(process.HasExited, Is.False, "the round ended before it was interrupted");
        using (Process kill = Process.Start("sh", ["-c", $"kill -{signal} {process.Id}"]))
            kill.WaitForExit();
        Tool.End(process).Failed(code, "Cancelled");
        Assert.That(_place.Names(), Is.EqualTo(before));

        bool HasOutput() => _place.Names().Any(name => name.StartsWith(".out", StringComparison.Ordinal));
    }

    [TestCase("inspect \"$1/a\"$'\\xff'.safetensors", "a\ufffd.safetensors' holds bytes that are not UTF-8")]
    [TestCase("aggregate --strategy fedavg --global \"$2\" --client \"$2\" --output \"$1/a\"$'\\xff'.safetensors",
        "a\ufffd.safetensors' holds bytes that are not UTF-8")]
    [TestCase("aggregate --strategy fedavg --global \"$2\" --client b=\"$1/\"$'\\xc3\\x28' --output \"$1/out.safetensors\"",
        "/\ufffd(' holds bytes that are not UTF-8")]
    [TestCase("aggregate --strategy fedavg --global \"$1/g\"$'\\xed\\xa0\\x80' --client \"$2\" --output=\"$1/out.safetensors\"",
        "' holds bytes that are not UTF-8")]
    [TestCase("mask --global \"$2\" --client \"$2\" --output=\"$1/\"$'\\xe9'.safetensors",
        "/\ufffd.safetensors' holds bytes that are not UTF-8")]
    [TestCase("diff \"$2\" $'\\x80'", "'\ufffd' holds bytes that are not UTF-8")]
    [TestCase("inspect \"$1/a\"$'\\xef\\xbf\\xbd'.safetensors $'\\xff'", "'\ufffd' holds bytes that are not UTF-8")]
    public void ANameThatIsNotUtf8IsRefused(string line, string sentence)
    {
        string[] before = _place.Names();
        RunInBash($"$0 {line}").Failed(1, sentence);
        Assert.That(_place.Names(), Is.EqualTo(before));
    }

    [Test]
    public void ANameMayContainTheReplacementCharacter()
    {
        string name = _place["a\ufffd.safetensors"];
        File.Copy(_place.Global, name);
        Assert.That(Tool.RunProcess("inspect", name).Succeeded().Output, Does.StartWith(name));
    }

    [Test]
    public void ACurrentFolderWhoseNameIsNotUtf8IsRefused() => RunInBash(
        "mkdir \"$1/d\"$'\\xff' && cd \"$1/d\"$'\\xff' && " +
        "$0 aggregate --strategy fedavg --global \"$2\" --client \"$2\" --output out.safetensors; " +
        "code=$?; rm -r \"$1/d\"$'\\xff'; exit $code")
        .Failed(1, "The name of the current folder", "holds bytes that are not UTF-8");

    /// <summary>
    /// Runs a bash script, in which <c>$'\xff'</c> is a byte. $0 starts the tool, $1 the test's folder, $2 the global
    /// model.
    /// </summary>
    private Run RunInBash(string script)
    {
        if (OperatingSystem.IsWindows())
            Assert.Ignore("only bash can pass bytes that are not UTF-8");
        using Process process = Tool.Start("bash", ["-c", script, Tool.ShellCommand, _place[""].TrimEnd('/'), _place.Global]);
        return Tool.End(process);
    }
}
