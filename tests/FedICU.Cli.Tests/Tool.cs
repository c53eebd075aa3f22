using System.Diagnostics;

namespace FedICU.Cli.Tests;

/// <summary>Runs the tool, in this process or in a separate one.</summary>
internal static class Tool
{
    // far longer than any run of the tests takes; chosen
    private static readonly TimeSpan Timeout = TimeSpan.FromMinutes(2);

    /// <summary>
    /// The words that start the tool: <c>dotnet</c> with the tool's assembly, or the program that FEDICU_TOOL names.
    /// </summary>
    public static string[] Command { get; } = Environment.GetEnvironmentVariable("FEDICU_TOOL") is { Length: > 0 } program
        ? [program]
        : ["dotnet", Path.Combine(AppContext.BaseDirectory, "fedicu.dll")];

    /// <summary>The same words for a shell.</summary>
    public static string ShellCommand => string.Join(' ', Command);

    public static Run Run(params string[] args) => Run(CancellationToken.None, args);

    public static Run Run(CancellationToken cancellationToken, params string[] args)
    {
        using StringWriter output = new(), error = new();
        int code = Program.RunAsync(args, output, error, cancellationToken).GetAwaiter().GetResult();
        return new Run(code, output.ToString(), error.ToString());
    }

    /// <summary>Starts the tool in a separate process.</summary>
    public static Process Start(params string[] args) => Start(args, configure: null);

    /// <summary>Starts the tool in a separate process.</summary>
    public static Process Start(string[] args, Action<ProcessStartInfo>? configure) =>
        Start(Command[0], [.. Command[1..], .. args], configure);

    /// <summary>Starts a program with redirected output.</summary>
    public static Process Start(string program, string[] args, Action<ProcessStartInfo>? configure = null)
    {
        var start = new ProcessStartInfo(program, args) { RedirectStandardOutput = true, RedirectStandardError = true };
        configure?.Invoke(start);
        return Process.Start(start)!;
    }

    public static Run RunProcess(params string[] args)
    {
        using Process process = Start(args);
        return End(process);
    }

    /// <summary>Waits for a process that has redirected output.</summary>
    public static Run End(Process process)
    {
        Task<string> error = process.StandardError.ReadToEndAsync();
        string output = process.StandardOutput.ReadToEnd();
        if (!process.WaitForExit(Timeout))
        {
            process.Kill();
            Assert.Fail("the tool did not end");
        }

        return new Run(process.ExitCode, output, error.Result);
    }
}
