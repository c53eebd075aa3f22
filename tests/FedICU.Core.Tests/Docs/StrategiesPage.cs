using System.Text;
using FedICU.Registry;

namespace FedICU.Tests.Docs;

/// <summary>The text of docs/strategies.md, made from the registry.</summary>
internal static class StrategiesPage
{
    /// <summary>
    /// The environment variable that, set to 1, makes the test write the page instead of comparing it.
    /// </summary>
    public const string Rewrite = "FEDICU_REWRITE_DOCS";

    private const string Head = $"""
        # Strategies

        <!-- Made from the registry by tests/FedICU.Core.Tests/Docs/StrategiesPage.cs. After a change there, write it again:
        {Rewrite}=1 dotnet test tests/FedICU.Core.Tests -c Release with the filter StrategiesPageTests -->

        The strategies that can be chosen by name: on [the command line](command-line.md), in configurations and through the
        bridges. `fedicu strategies NAME` prints the same. [Algorithms](algorithms.md) has the formulas, and
        [Writing an aggregator](writing-an-aggregator.md) shows how to add your own.

        A strategy is one or more *stages* of a round. Several strategies are joined by commas in the order of their stages:
        weightings, transforms, one merge, server steps, steps of LoRA pairs. `krum,fedadam` is a step of Adam towards the
        model that Krum chooses. If no strategy is a merge, the merge is `fedavg`, whose options then apply too.

        An option is written `name`, or `strategy.name` where several of the strategies have it.

        """;

    /// <summary>Writes the page.</summary>
    public static string Write(StrategyRegistry registry)
    {
        var page = new StringBuilder(Head).Append('\n');
        page.Append("| strategy | | stage | state | paper |\n|---|---|---|---|---|\n");
        foreach (StrategyDescription strategy in registry.Strategies)
        {
            StrategyOutline? outline = StrategyOutline.Of(strategy);
            string kinds = outline is null ? "" : string.Join(", ", outline.Kinds), state = outline?.DescribeState() ?? "";
            page.Append($"| [`{strategy.Name}`](#{strategy.Name}) | {Cell(strategy.Summary)} | {kinds} | {state} | ")
                .Append(Cell(strategy.Paper)).Append(" |\n");
        }

        foreach (StrategyDescription strategy in registry.Strategies)
        {
            page.Append($"\n## {strategy.Name}\n{strategy.Summary}{(strategy.Paper.Length > 0 ? $" {strategy.Paper}." : "")}\n\n");
            WriteOptions(page, strategy.Options);
        }

        page.Append("\n## Options of every round\n");
        WriteOptions(page, StrategyRegistry.RoundOptions);
        return page.ToString();
    }

    private static void WriteOptions(StringBuilder page, IReadOnlyList<OptionDescription> options)
    {
        if (options.Count == 0)
        {
            page.Append("It has no options of its own.\n");
            return;
        }

        page.Append("| option | default | values | |\n|---|---|---|---|\n");
        foreach (OptionDescription option in options)
            page.Append($"| `{option.Name}` | {Cell(option.Default)} | {Cell(option.Values)} | {Cell(option.Summary)} |\n");
    }

    // a bar would begin another cell
    private static string Cell(string text) => text.Replace("|", "\\|", StringComparison.Ordinal);
}
