using System.Diagnostics;

namespace FedICU.Cli.Tests;

/// <summary>The tool as a process of its own: what only a process shows.</summary>
public sealed class ProcessTests
{
    private Place _place = null!;

    [SetUp]
    public void SetUp() => _place = new Place();

    [TearDown]
    public void TearDown() => _place.Dispose();

    [Test]
    public void AggregatesPlainlyIntoAPipe()
    {
        Run run = Tool.RunProcess(
            "aggregate", "--strategy", "fedicu", "--global", _place.Global, "--client", _place.A, "--client", _place.B, "--output", _place["out.safetensors"]).Succeeded();
        Assert.That(run.Output, Does.Not.Contain('\u001b').And.Contain("wrote"));
        Assert.That(File.Exists(_place["out.safetensors"]));
    }

    [Test]
    public void EndsWithTheCodes()
    {
        Tool.RunProcess("aggregat").Failed(2, "'aggregat'");
        Tool.RunProcess("inspect", _place["nowhere.safetensors"]).Failed(1, "nowhere.safetensors");
    }

    [Test]
    public void SaysItsVersion() => Assert.That(Tool.RunProcess("--version").Succeeded().Output, Does.Match(@"^\d+\.\d+\.\d+"));

    [TestCase("HUP", 129)]
    [TestCase("INT", 130)]
    [TestCase("TERM", 143)]
    public void ASignalEndsTheRoundAndLeavesNothing(string signal, int code)
    {
        if (OperatingSystem.IsWindows())
            Assert.Ignore("signals are sent with a POSIX shell");
        // the reference takes long for so many elements
        string global = _place.WriteZeros("zero.safetensors", 4096, 4096), client = _place.WriteZeros("client.safetensors", 4096, 4096);
        string[] before = _place.Names();
        using Process process = Tool.Start(
            "aggregate", "--strategy", "fedicu", "--backend", "reference", "--global", global, "--client", client, "--output", _place["out.safetensors"], "--report", _place["r.json"]);
        Stopwatch waited = Stopwatch.StartNew();
        while (!process.HasExited && !_place.Names().Any(name => name.StartsWith(".out", StringComparison.Ordinal)) && waited.Elapsed < TimeSpan.FromMinutes(1))
            Thread.Sleep(10);
        Assert.That(process.HasExited, Is.False, "the round was over before it was interrupted");
        using (Process kill = Process.Start("sh", ["-c", $"kill -{signal} {process.Id}"]))
            kill.WaitForExit();
        Tool.End(process).Failed(code, "Cancelled");
        Assert.That(_place.Names(), Is.EqualTo(before));
    }
}
