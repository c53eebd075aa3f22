using System.CommandLine;
using System.CommandLine.Help;
using System.CommandLine.Parsing;
using FedICU.Files;

namespace FedICU.Cli;

/// <summary>
/// Parses a command line, runs its command, and turns every failure into one sentence and an exit code.
/// </summary>
internal static class CommandLine
{
    public static async Task<int> RunAsync(string[] args, Terminal terminal, CancellationToken cancellationToken)
    {
        // help texts and errors list the strategies of the process
        LoraStrategies.AddToDefault();
        try
        {
            Arguments.RefuseUndecodable(args);
            // 'fedicu help COMMAND', as other tools have it
            if (args is ["help", .. var topic])
                args = [.. topic, "--help"];
            args = ServeCommand.Separate(args);
            // a path may begin with '@' and is no response file; '-1,2' are weights and no bundle of short options
            ParseResult line = Build(terminal)
                .Parse(args, new ParserConfiguration { ResponseFileTokenReplacer = null, EnablePosixBundling = false });
            // what a shell sends while a user types need not be complete
            if (!Completion.IsRequest(args))
                RefuseUsageErrors(line, args);
            return await line.InvokeAsync(
                new InvocationConfiguration
                {
                    Output = terminal.Output,
                    Error = terminal.Error,
                    EnableDefaultExceptionHandler = false,
                    ProcessTerminationTimeout = null,
                },
                cancellationToken);
        }
        catch (ManagedToolNeededException e)
        {
            return ManagedTool.Run(args, e.Need);
        }
        catch (UsageException e)
        {
            terminal.Fail(e.Message);
            return ExitCode.Usage;
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            terminal.Fail("Cancelled; nothing was written.");
            return ExitCode.Interrupted;
        }
        catch (FedIcuException e)
        {
            terminal.Fail(e.Message);
            return ExitCode.Refused;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException || FileFailure.IsTooLarge(e))
        {
            // failures of model files arrive as FedIcuException, so this one comes from the standard output
            terminal.Fail($"The standard output cannot be written: {FileFailure.Describe(e)}.");
            return ExitCode.Refused;
        }
#pragma warning disable CA1031 // the last resort: the user sees a sentence, never a stack trace
        catch (Exception e)
#pragma warning restore CA1031
        {
            terminal.Fail($"This should not have happened: {e.GetType().Name}: {e.Message}");
            return ExitCode.Refused;
        }
    }

    private static RootCommand Build(Terminal terminal)
    {
        var root = new RootCommand("Aggregates, masks, explains and compares models of federated learning.\n\n" +
            "A model: " + char.ToLowerInvariant(Flags.ModelForms[0]) + Flags.ModelForms[1..])
        {
            new AggregateCommand(terminal),
            new MergeCommand(terminal),
            new MaskCommand(terminal),
            new AdaptCommand(terminal),
            new FuseCommand(terminal),
            new ExplainCommand(terminal),
            new ReportCommand(terminal),
            new StrategiesCommand(terminal),
            new PrivacyCommand(terminal),
            new InspectCommand(terminal),
            new DiffCommand(terminal),
            new VerifyCommand(terminal),
            new DevicesCommand(terminal),
            new CompareCommand(terminal),
            new BenchCommand(terminal),
            new CompletionCommand(terminal),
            new ServeCommand(terminal),
        };
        HelpOption help = root.Options.OfType<HelpOption>().Single();
        // its other names, '-?', '/?' and '/h', would fill each list of completions
        foreach (string alias in help.Aliases.Where(alias => alias != "-h").ToArray())
            help.Aliases.Remove(alias);
        help.Action = new HelpWithExamples((HelpAction)help.Action!);
        Completion.AddValues(root);
        return root;
    }

    // The parsing library's own errors are not enough: it takes an unknown flag as the value of an option before it.
    private static void RefuseUsageErrors(ParseResult line, string[] args)
    {
        Command command = line.CommandResult.Command;
        string known = string.Join(", ", line.RootCommandResult.Command.Subcommands.Select(subcommand => subcommand.Name));
        if (command is RootCommand && line.UnmatchedTokens is [var unknown, ..] && !unknown.StartsWith('-'))
            throw new UsageException($"The command '{unknown}' is unknown; {known} are known.");
        foreach (string arg in args.TakeWhile(arg => arg != "--").Where(arg => arg.StartsWith("--", StringComparison.Ordinal)))
        {
            string name = arg.Split('=', ':')[0];
            if (!HasOption(command, name) && !(args[0] == arg && HasOption(line.RootCommandResult.Command, name)))
                throw new UsageException($"The option '{name}' is unknown{Of(command)}; see '{Help(command)}'.");
        }

        IEnumerable<string> arguments = line.CommandResult.Children.OfType<ArgumentResult>()
            .SelectMany(result => result.Tokens).Select(token => token.Value);
        if (!args.Contains("--") && line.UnmatchedTokens.Concat(arguments).FirstOrDefault(token => token.StartsWith('-')) is { } flag)
            throw new UsageException($"The option '{flag}' is unknown{Of(command)}; see '{Help(command)}'.");
        if (line.UnmatchedTokens.Count > 0)
            throw new UsageException($"'{line.UnmatchedTokens[0]}' was not expected{Of(command, "by")}; see '{Help(command)}'.");
        if (line.Errors.Count > 0)
            throw new UsageException(Describe(line.Errors[0], known, command));
    }

    private static string Describe(ParseError error, string commands, Command command) => error.SymbolResult switch
    {
        OptionResult { Option: HelpOption or VersionOption } => error.Message,
        OptionResult { Implicit: true } result =>
            $"The option '{result.Option.Name}' is required{Of(command, "by")}; see '{Help(command)}'.",
        OptionResult { Tokens.Count: 0 } result => $"The option '{result.Option.Name}' needs a value; see '{Help(command)}'.",
        OptionResult { Tokens.Count: > 1 } result => $"The option '{result.Option.Name}' was given more than once.",
        ArgumentResult result => $"The argument {result.Argument.Name} is missing; see '{Help(command)}'.",
        CommandResult => $"A command is missing; {commands} are known; see '{Help(command)}'.",
        _ => error.Message,
    };

    private static bool HasOption(Command command, string name) =>
        command.Options.Any(option => option.Name == name || option.Aliases.Contains(name)) || name == "--help";

    private static string Of(Command command, string how = "to") => command is RootCommand ? "" : $" {how} 'fedicu {command.Name}'";

    private static string Help(Command command) => command is RootCommand ? "fedicu --help" : $"fedicu {command.Name} --help";
}
