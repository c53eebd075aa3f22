using System.CommandLine;
using System.CommandLine.Completions;

namespace FedICU.Cli;

/// <summary>
/// Completes what a user types. The shell's script (<see cref="CompletionCommand"/>) sends the line and the cursor's
/// position as <c>fedicu "[suggest:POSITION]" "LINE"</c>, and gets a completion a line.
/// </summary>
internal static class Completion
{
    private const string Request = "[suggest";

    // what an option's description says in place of values that are not words
    private static readonly string[] Placeholders = ["number", "whole number", "prefixes"];

    /// <summary>Returns whether a command line is a shell's request for completions.</summary>
    public static bool IsRequest(string[] args) => args is [var first, ..] && first.StartsWith(Request, StringComparison.Ordinal);

    /// <summary>
    /// Adds the known values of options to the commands. Where none are known, the shell completes files.
    /// </summary>
    public static void AddValues(Command root)
    {
        foreach (Command command in root.Subcommands)
        {
            foreach (Option option in command.Options)
            {
                // the parsing library takes a word after '--client x' for another client, even one that begins with a
                // dash
                if (option is Option<string[]> repeated)
                {
                    repeated.CompletionSources.Add(context => context.WordToComplete.StartsWith('-')
                        ? command.Options.Select(other => new CompletionItem(other.Name)) : []);
                }

                switch (option)
                {
                    case Option<string> or Option<string?> when Values(option.Name) is { } values:
                        option.CompletionSources.Add(context => values(context).Select(value => new CompletionItem(value)));
                        break;
                    case Option<string[]> { Name: "--strategies" } strategies:
                        strategies.CompletionSources.Add(context => ComparedStrategies(context).Select(value => new CompletionItem(value)));
                        break;
                    case Option<string[]> { Name: "--set" } settings:
                        settings.CompletionSources.Add(context => Settings(command, context).Select(value => new CompletionItem(value)));
                        break;
                }
            }

            if (command is StrategiesCommand)
            {
                ((Argument<string?>)command.Arguments[0]).CompletionSources.Add(
                    _ => StrategyRegistry.Default.Names.Select(name => new CompletionItem(name)));
            }
        }
    }

    private static Func<CompletionContext, IEnumerable<string>>? Values(string option) => option switch
    {
        "--strategy" or "--method" => Strategies,
        "--backend" => _ => Gpu.ComputeBackends.Names,
        "--dtype" => _ => ["f32", "f16", "bf16", "f64"],
        "--kind" => _ => ["full", "delta", "sparse"],
        "--keep" => _ => ["all", "best", "none"],
        "--mask" => _ => ["hard", "soft", "top=", "noise="],
        _ => null,
    };

    /// <summary>Completes the last of several strategies that are joined by commas.</summary>
    private static IEnumerable<string> Strategies(CompletionContext context)
    {
        string typed = context.WordToComplete;
        string before = typed[..(typed.LastIndexOf(',') + 1)];
        return StrategyRegistry.Default.Names.Select(name => before + name);
    }

    /// <summary>Completes the last strategy of a comparison's list, or the names of its options.</summary>
    private static IEnumerable<string> ComparedStrategies(CompletionContext context)
    {
        string typed = context.WordToComplete;
        int option = typed.LastIndexOf(':'), entry = typed.LastIndexOfAny([',', '+']);
        if (option <= entry)
            return StrategyRegistry.Default.Names.Select(name => typed[..(entry + 1)] + name);
        string chain = typed[(typed.LastIndexOf(',') + 1)..].Split(':')[0];
        return chain.Split('+').Select(StrategyRegistry.Default.Find).OfType<StrategyDescription>()
            .SelectMany(strategy => strategy.Options).Select(described => $"{typed[..(option + 1)]}{described.Name}=").Distinct();
    }

    /// <summary>Completes <c>NAME=</c> of the line's strategies and of every round, or the values of a name.</summary>
    private static IEnumerable<string> Settings(Command command, CompletionContext context)
    {
        string strategies = command.Options.OfType<Option<string?>>().FirstOrDefault(option => option.Name is "--strategy" or "--method")
            is { } option ? context.ParseResult.GetValue(option) ?? "" : "";
        OptionDescription[] known =
        [
            .. strategies.Split(',').Select(StrategyRegistry.Default.Find).OfType<StrategyDescription>()
                .SelectMany(strategy => strategy.Options),
            .. StrategyRegistry.RoundOptions,
        ];
        string[] typed = context.WordToComplete.Split('=', 2);
        if (typed.Length == 1)
            return known.Select(described => described.Name + "=").Distinct();
        return known.Where(described => described.Name == typed[0])
            .SelectMany(described => described.Values.Split([", ", " or "], StringSplitOptions.RemoveEmptyEntries))
            .Where(value => !Placeholders.Contains(value))
            .Select(value => $"{typed[0]}={value}");
    }
}
