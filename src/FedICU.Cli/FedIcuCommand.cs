using System.CommandLine;
using System.CommandLine.Help;
using System.CommandLine.Invocation;

namespace FedICU.Cli;

/// <summary>A command with the terminal it writes to, and examples for its help.</summary>
internal abstract class FedIcuCommand : Command
{
    protected FedIcuCommand(string name, string description, Terminal terminal) : base(name, description)
    {
        Terminal = terminal;
        SetAction(RunAsync);
    }

    /// <summary>Lines that a person can type.</summary>
    public abstract IReadOnlyList<string> Examples { get; }

    protected Terminal Terminal { get; }

    /// <summary>Runs the command and returns the exit code; what is refused is thrown.</summary>
    protected abstract Task<int> RunAsync(ParseResult line, CancellationToken cancellationToken);
}

/// <summary>The parsing library's help, then the command's examples; for the tool itself the first example of each command.</summary>
internal sealed class HelpWithExamples(HelpAction help) : SynchronousCommandLineAction
{
    public override bool ClearsParseErrors => help.ClearsParseErrors;

    public override int Invoke(ParseResult parseResult)
    {
        int code = help.Invoke(parseResult);
        Command command = parseResult.CommandResult.Command;
        IEnumerable<string> examples = command is FedIcuCommand own ? own.Examples : command.Subcommands.OfType<FedIcuCommand>().Select(subcommand => subcommand.Examples[0]);
        TextWriter output = parseResult.InvocationConfiguration.Output;
        output.WriteLine("Examples:");
        foreach (string example in examples)
            output.WriteLine("  " + example);
        output.WriteLine();
        return code;
    }
}
