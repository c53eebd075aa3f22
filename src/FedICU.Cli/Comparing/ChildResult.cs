namespace FedICU.Cli.Comparing;

/// <summary>How a program ended.</summary>
/// <param name="ExitCode">Its exit code; null if it was ended because it took too long.</param>
/// <param name="Elapsed">How long it ran.</param>
internal sealed record ChildResult(int? ExitCode, TimeSpan Elapsed)
{
    /// <summary>Says how a program failed.</summary>
    public string Describe() => ExitCode switch
    {
        null => $"took longer than {Text.Number(Elapsed.TotalSeconds)} s",
        // 128 + SIGKILL, which Linux sends where memory runs out
        137 => "was killed, perhaps because memory ran out",
        > 128 and < 160 => $"was ended by signal {ExitCode - 128}",
        _ => $"ended with code {ExitCode}",
    };
}
