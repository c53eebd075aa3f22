using System.CommandLine;
using System.CommandLine.Help;
using System.CommandLine.Invocation;

namespace FedICU.Cli;

/// <summary>
/// Prints the parsing library's help, then the command's examples. For the tool itself, prints the first example of
/// each command.
/// </summary>
internal sealed class HelpWithExamples(HelpAction help) : SynchronousCommandLineAction
{
    public override bool ClearsParseErrors => help.ClearsParseErrors;

    public override int Invoke(ParseResult parseResult)
    {
        int code = help.Invoke(parseResult);
        Command command = parseResult.CommandResult.Command;
        IEnumerable<string> examples = command is FedIcuCommand own
            ? own.Examples
            : command.Subcommands.OfType<FedIcuCommand>().Select(subcommand => subcommand.Examples[0]);
        TextWriter output = parseResult.InvocationConfiguration.Output;
        output.WriteLine("Examples:");
        foreach (string example in examples)
            output.WriteLine("  " + example);
        output.WriteLine();
        return code;
    }
}
