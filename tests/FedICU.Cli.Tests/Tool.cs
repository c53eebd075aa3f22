using System.Diagnostics;

namespace FedICU.Cli.Tests;

/// <summary>What a run of the tool left behind.</summary>
internal sealed record Run(int Code, string Output, string Error)
{
    /// <summary>It did what it was asked, and had nothing to say to the error stream.</summary>
    public Run Succeeded()
    {
        Assert.That((Code, Error), Is.EqualTo((0, "")));
        return this;
    }

    /// <summary>It ended with that code and one sentence that holds all the parts; nothing else was printed.</summary>
    public Run Failed(int code, params string[] parts)
    {
        Assert.That(Error, Does.StartWith("fedicu: ").And.EndWith(Environment.NewLine));
        Assert.That(Error.TrimEnd(), Does.Not.Contain('\n').And.Not.Contain("should not have happened"));
        foreach (string part in parts)
            Assert.That(Error, Does.Contain(part));
        Assert.That((Code, Output), Is.EqualTo((code, "")));
        return this;
    }

    public string[] Lines => Output.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);

    /// <summary>The cells of the line that begins so.</summary>
    public string[] Cells(string first) =>
        Lines.First(line => line.StartsWith(first, StringComparison.Ordinal)).Split("  ", StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
}

/// <summary>Runs the tool: within this process, or as one of its own.</summary>
internal static class Tool
{
    public static Run Run(params string[] args) => Run(CancellationToken.None, args);

    public static Run Run(CancellationToken cancellationToken, params string[] args)
    {
        using StringWriter output = new(), error = new();
        int code = Program.RunAsync(args, output, error, cancellationToken).GetAwaiter().GetResult();
        return new Run(code, output.ToString(), error.ToString());
    }

    public static Process Start(params string[] args) => Process.Start(
        new ProcessStartInfo("dotnet", [Path.Combine(AppContext.BaseDirectory, "fedicu.dll"), .. args]) { RedirectStandardOutput = true, RedirectStandardError = true })!;

    public static Run RunProcess(params string[] args)
    {
        using Process process = Start(args);
        return End(process);
    }

    public static Run End(Process process)
    {
        Task<string> error = process.StandardError.ReadToEndAsync();
        string output = process.StandardOutput.ReadToEnd();
        if (!process.WaitForExit(TimeSpan.FromMinutes(2)))
        {
            process.Kill();
            Assert.Fail("the tool did not end");
        }

        return new Run(process.ExitCode, output, error.Result);
    }
}
