using System.Diagnostics;
using FedICU.Tests;

namespace FedICU.Cli.Tests;

/// <summary>The tool at a person's terminal, which util-linux's script plays: boxes, colours and a bar; and only there.</summary>
public sealed class TerminalTests
{
    private const char Escape = '\u001b';

    private Place _place = null!;

    [SetUp]
    public void SetUp()
    {
        // not `script --version`: other systems have another script
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
        Assert.That(shown, Does.Contain("╭─").And.Contain(Escape + "[1mclient"), "a table in a box, its head bold");
        Assert.That(shown, Does.Match(Escape + @"\[38;5;2mfedicu: 2 of 2 clients[^\r\n]*wrote [^\r\n]*" + Escape + @"\[0m"), "green for good news");
        Assert.That(File.Exists(_place["out.safetensors"]));
    }

    [Test]
    public void BadNewsAreRed() =>
        Assert.That(AtTerminal($"diff {_place.A} {_place.B}"), Does.Match(Escape + @"\[38;5;\d+mthe models differ in 3 of 3 tensors" + Escape + @"\[0m"));

    [Test]
    public void AFailureIsOneSentenceHereToo()
    {
        string shown = AtTerminal($"aggregate --strategy fedicu --global {_place.Global} --client {_place["nowhere.safetensors"]} --output {_place["out.safetensors"]}", code: 1);
        Assert.That(shown.Split('\n').Select(line => line.TrimEnd('\r')).Count(line => line.Contains("fedicu: ", StringComparison.Ordinal) && line.EndsWith("does not exist.", StringComparison.Ordinal)), Is.EqualTo(1));
        Assert.That(shown, Does.Not.Contain("   at "), "no stack");
    }

    [Test]
    public void WhatGoesToAFileIsPlainThoughTheRestIsAtATerminal()
    {
        AtTerminal($"{Aggregate} > {_place["output"]}");
        Assert.That(File.ReadAllText(_place["output"]), Does.Not.Contain(Escape).And.Contain("wrote").And.Contain("client"));
        string shown = AtTerminal($"{Aggregate} 2> {_place["error"]}");
        Assert.That(File.ReadAllText(_place["error"]), Is.Empty, "no bar in a file");
        Assert.That(shown, Does.Contain(Escape + "[38;5;2m").And.Not.Contain("100%"));
    }

    [Test]
    public void ATerminalWithoutColoursIsLeftAlone()
    {
        Assert.That(AtTerminal(Aggregate, terminal: "dumb"), Does.Not.Contain(Escape + "[38").And.Contain("wrote"));
    }

    private string Aggregate => $"aggregate --strategy fedicu --global {_place.Global} --client {_place.A} --client {_place.B} --output {_place["out.safetensors"]}";

    /// <summary>What the terminal was sent by a line of the tool, which the shell takes apart.</summary>
    private static string AtTerminal(string line, int code = 0, string terminal = "xterm-256color")
    {
        var start = new ProcessStartInfo("script", ["-qec", $"dotnet {Path.Combine(AppContext.BaseDirectory, "fedicu.dll")} {line}", "/dev/null"])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
        };
        // a build server's own variables would make this its terminal
        foreach (string name in start.Environment.Keys.Where(name => !name.StartsWith("DOTNET", StringComparison.Ordinal) && name is not ("PATH" or "HOME" or "TMPDIR")).ToList())
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
    }
}
