using System.Diagnostics;
using FedICU.Tests;

namespace FedICU.Cli.Tests;

/// <summary>
/// Runs the tool on a terminal, which util-linux's script simulates. Boxes, colours and bars appear only there.
/// </summary>
public sealed class TerminalTests
{
    private const char Escape = '\u001b';

    private Place _place = null!;

    [SetUp]
    public void SetUp()
    {
        // tests more than `script --version`, because other systems have another program of that name
        if (!OperatingSystem.IsLinux() || Tools.TryRun("script", ["-qec", "true", "/dev/null"], out _) != 0)
            Tools.Missing("script (util-linux)");
        _place = new Place();
    }

    [TearDown]
    public void TearDown() => _place?.Dispose();

    [Test]
    public void ShowsABarBoxesAndColours()
    {
        string shown = AtTerminal(Aggregate);
        Assert.That(shown, Does.Contain("aggregate " + Escape).And.Contain("100%"), "the bar");
        Assert.That(shown, Does.Contain("╭─").And.Contain(Escape + "[1mclient"), "a table in a box, with a bold header");
        Assert.That(
            shown, Does.Match(Escape + @"\[38;5;2mfedicu: 2 of 2 clients[^\r\n]*wrote [^\r\n]*" + Escape + @"\[0m"), "green for good news");
        Assert.That(File.Exists(_place["out.safetensors"]));
    }

    [Test]
    public void BadNewsIsRed() =>
        Assert.That(
            AtTerminal($"diff {_place.A} {_place.B}"),
            Does.Match(Escape + @"\[38;5;\d+mthe models differ in 3 of 3 tensors" + Escape + @"\[0m"));

    [Test]
    public void AFailureIsOneSentenceOnATerminalToo()
    {
        string line = string.Join(' ', _place.RoundLine([_place["nowhere.safetensors"]]));
        string shown = AtTerminal(line, code: 1);
        Assert.That(shown.Split('\n').Select(text => text.TrimEnd('\r')).Count(IsRefusal), Is.EqualTo(1));
        Assert.That(shown, Does.Not.Contain("   at "), "no stack trace");

        static bool IsRefusal(string text) =>
            text.Contains("fedicu: ", StringComparison.Ordinal) && text.EndsWith("does not exist.", StringComparison.Ordinal);
    }

    [Test]
    public void OutputToAFileIsPlainEvenBesideATerminal()
    {
        AtTerminal($"{Aggregate} > {_place["output"]}");
        Assert.That(File.ReadAllText(_place["output"]), Does.Not.Contain(Escape).And.Contain("wrote").And.Contain("client"));
        string shown = AtTerminal($"{Aggregate} 2> {_place["error"]}");
        Assert.That(File.ReadAllText(_place["error"]), Is.Empty, "no bar in a file");
        Assert.That(shown, Does.Contain(Escape + "[38;5;2m").And.Not.Contain("100%"));
    }

    [Test]
    public void ATerminalWithoutColoursGetsNone()
    {
        Assert.That(AtTerminal(Aggregate, terminal: "dumb"), Does.Not.Contain(Escape + "[38").And.Contain("wrote"));
    }

    private string Aggregate => string.Join(' ', _place.RoundLine([_place.A, _place.B]));

    /// <summary>
    /// Runs a command line of the tool, which the shell parses, and returns everything that the terminal received.
    /// </summary>
    private static string AtTerminal(string line, int code = 0, string terminal = "xterm-256color")
    {
        var start = new ProcessStartInfo("script", ["-qec", $"{Tool.ShellCommand} {line}", "/dev/null"])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
        };
        // the variables of a build server would change how Spectre.Console sees the terminal
        foreach (string name in start.Environment.Keys.Where(name => !IsKept(name)).ToList())
            start.Environment.Remove(name);
        start.Environment["TERM"] = terminal;
        using Process process = Process.Start(start)!;
        process.StandardInput.Close();
        Task<string> output = process.StandardOutput.ReadToEndAsync();
        if (!process.WaitForExit(TimeSpan.FromMinutes(2)))
        {
            process.Kill(entireProcessTree: true);
            Assert.Fail("the tool did not end");
        }

        Assert.That(process.ExitCode, Is.EqualTo(code), output.Result);
        return output.Result;

        static bool IsKept(string name) => name.StartsWith("DOTNET", StringComparison.Ordinal) || name is "PATH" or "HOME" or "TMPDIR";
    }
}
