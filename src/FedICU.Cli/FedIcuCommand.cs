using System.CommandLine;

namespace FedICU.Cli;

/// <summary>A command with the terminal that it writes to, and examples for its help.</summary>
internal abstract class FedIcuCommand : Command
{
    protected FedIcuCommand(string name, string description, Terminal terminal) : base(name, description)
    {
        Terminal = terminal;
        SetAction(RunAsync);
    }

    /// <summary>Gets complete command lines that show how the command is used.</summary>
    public abstract IReadOnlyList<string> Examples { get; }

    protected Terminal Terminal { get; }

    /// <summary>Runs the command and returns its exit code. Throws if a value or a file is refused.</summary>
    protected abstract Task<int> RunAsync(ParseResult line, CancellationToken cancellationToken);
}
