using System.Text;
using System.Text.RegularExpressions;
using FedICU.Registry;

namespace FedICU.Tests.Docs;

/// <summary>The parts of docs/strategies.md that are made from the registry. The rest is written by hand.</summary>
internal static partial class StrategiesPage
{
    /// <summary>
    /// The environment variable that, set to 1, makes the test write the parts instead of comparing them.
    /// </summary>
    public const string Rewrite = "FEDICU_REWRITE_DOCS";

    private const string Table = "all strategies", EveryRound = "options of every round", OptionsOf = "options of ";

    /// <summary>Returns the page with every part made from the registry.</summary>
    public static string Update(string page, StrategyRegistry registry) => PartPattern().Replace(
        page, part => part.Groups["begin"].Value + Make(part.Groups["name"].Value, registry) + part.Groups["end"].Value);

    /// <summary>Returns the sections, from their headings of the second level on.</summary>
    public static ILookup<string, string> GetSections(string page) => page.Split("\n## ").Skip(1).ToLookup(
        section => section[..section.IndexOf('\n', StringComparison.Ordinal)]);

    /// <summary>Returns the names of the parts in a text.</summary>
    public static IEnumerable<string> GetParts(string text) => PartPattern().Matches(text).Select(part => part.Groups["name"].Value);

    /// <summary>Returns the name of the part that lists a strategy's options.</summary>
    public static string NameOptions(string strategy) => OptionsOf + strategy;

    private static string Make(string part, StrategyRegistry registry) => part switch
    {
        Table => MakeTable(registry),
        EveryRound => MakeOptions(StrategyRegistry.RoundOptions),
        _ when part.StartsWith(OptionsOf, StringComparison.Ordinal) && registry.Find(part[OptionsOf.Length..]) is { } strategy =>
            MakeOptions(strategy.Options),
        _ => throw new InvalidDataException($"docs/strategies.md has the part '{part}', which nothing makes."),
    };

    private static string MakeTable(StrategyRegistry registry)
    {
        var table = new StringBuilder("| strategy | | stages | state | paper |\n|---|---|---|---|---|\n");
        foreach (StrategyDescription strategy in registry.Strategies)
        {
            // a strategy with a required option has no outline
            StrategyOutline? outline = StrategyOutline.Of(strategy);
            string kinds = outline is null ? "its section says" : string.Join(", ", outline.Kinds);
            table.Append($"| [`{strategy.Name}`](#{strategy.Name}) | {Cell(strategy.Summary)} | {kinds} | ")
                .Append($"{outline?.DescribeState() ?? "its section says"} | {Cell(strategy.Paper)} |\n");
        }

        return table.ToString();
    }

    private static string MakeOptions(IReadOnlyList<OptionDescription> options)
    {
        if (options.Count == 0)
            return "It has no options of its own.\n";
        var table = new StringBuilder("| option | default | values | |\n|---|---|---|---|\n");
        foreach (OptionDescription option in options)
            table.Append($"| `{option.Name}` | {Cell(option.Default)} | {Cell(option.Values)} | {Cell(option.Summary)} |\n");
        return table.ToString();
    }

    // a bar would begin another cell
    private static string Cell(string text) => text.Replace("|", "\\|", StringComparison.Ordinal);

    [GeneratedRegex(@"(?<begin><!-- made from the registry: (?<name>[^\n]+) -->\n).*?(?<end><!-- end -->)", RegexOptions.Singleline)]
    private static partial Regex PartPattern();
}
