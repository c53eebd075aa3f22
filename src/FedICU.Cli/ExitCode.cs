namespace FedICU.Cli;

/// <summary>What the tool's exit codes mean (docs/command-line.md).</summary>
internal static class ExitCode
{
    public const int Done = 0;

    /// <summary>The line was understood, and a value or a file was refused; or a verification failed.</summary>
    public const int Refused = 1;

    /// <summary>The line cannot be understood.</summary>
    public const int Usage = 2;

    /// <summary>128 + SIGHUP: the terminal was closed.</summary>
    public const int HungUp = 129;

    /// <summary>128 + SIGINT, as shells have it.</summary>
    public const int Interrupted = 130;

    /// <summary>128 + SIGTERM.</summary>
    public const int Terminated = 143;
}

/// <summary>The line cannot be understood: exit code 2.</summary>
internal sealed class UsageException(string message) : Exception(Text.Sentence(message));

/// <summary>The line was understood, and a value of it is refused: exit code 1.</summary>
internal sealed class RefusedException(string message) : FedIcuException(message);
