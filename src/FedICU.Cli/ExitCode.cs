namespace FedICU.Cli;

/// <summary>The tool's exit codes (docs/command-line.md).</summary>
internal static class ExitCode
{
    public const int Done = 0;

    /// <summary>The command line was understood, but a value or a file was refused, or a verification failed.</summary>
    public const int Refused = 1;

    /// <summary>The command line cannot be understood.</summary>
    public const int Usage = 2;

    /// <summary>128 + SIGHUP: the terminal was closed.</summary>
    public const int HungUp = 129;

    /// <summary>128 + SIGINT, the shells' convention.</summary>
    public const int Interrupted = 130;

    /// <summary>128 + SIGTERM.</summary>
    public const int Terminated = 143;
}
