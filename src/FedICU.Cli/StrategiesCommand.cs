using System.CommandLine;
using FedICU.Cli.Json;
using FedICU.Registry;

namespace FedICU.Cli;

/// <summary>The command <c>fedicu strategies</c>: lists the strategies, or describes one with its options.</summary>
internal sealed class StrategiesCommand : FedIcuCommand
{
    private readonly Argument<string?> _name = new("NAME")
    {
        Description = "The strategy to describe. Default: all are listed.",
        Arity = ArgumentArity.ZeroOrOne,
    };

    private readonly Option<string[]> _plugins = Flags.Plugins();
    private readonly Option<bool> _json = Flags.Json();

    public StrategiesCommand(Terminal terminal) : base("strategies", "Lists the strategies, or describes one with its options.", terminal)
    {
        Add(_name);
        Add(_plugins);
        Add(_json);
    }

    public override IReadOnlyList<string> Examples => ["fedicu strategies", "fedicu strategies krum"];

    protected override Task<int> RunAsync(ParseResult line, CancellationToken cancellationToken)
    {
        Plugins plugins = Plugins.Load(line.GetValue(_plugins));
        string? name = line.GetValue(_name);
        if (line.GetValue(_json))
        {
            IEnumerable<StrategyDescription> strategies = name is null ? plugins.Registry.Strategies : [Find(name, plugins)];
            Terminal.Json(
                new StrategyListing([.. strategies.Select(strategy => ToJson(strategy, plugins))], StrategyRegistry.RoundOptions),
                CliJson.Default.StrategyListing);
        }
        else if (name is not null)
            Describe(name, plugins);
        else
            List(plugins.Registry);
        return Task.FromResult(ExitCode.Done);
    }

    private void List(StrategyRegistry registry)
    {
        var table = new ResultTable("name", "summary", "paper");
        foreach (StrategyDescription strategy in registry.Strategies)
            table.Add(strategy.Name, strategy.Summary, strategy.Paper);
        Terminal.Table(table);
    }

    private void Describe(string name, Plugins plugins)
    {
        StrategyDescription strategy = Find(name, plugins);
        (StrategyOutline? outline, IReadOnlyList<OptionDescription> options) = Outline(strategy, plugins);
        Terminal.Line($"{strategy.Name}: {strategy.Summary}");
        if (strategy.Paper.Length > 0)
            Terminal.Line($"paper: {strategy.Paper}");
        if (outline is not null)
        {
            Terminal.Line($"stage: {string.Join(", ", outline.Kinds)}");
            Terminal.Line($"state: {outline.DescribeState()}");
            if (!outline.HasMerge)
                Terminal.Line($"merge: fedavg with its options ({FedAvgOptionNames()}), unless another one is named");
        }

        if (options.Count > 0)
        {
            Terminal.Line();
            Write("option", options);
        }

        Terminal.Line();
        Write("option of every round", StrategyRegistry.RoundOptions);
    }

    private static StrategyDescription Find(string name, Plugins plugins) =>
        plugins.Registry.Find(name) ?? throw Flags.UnknownStrategy(name, plugins.Registry);

    private static (StrategyOutline?, IReadOnlyList<OptionDescription>) Outline(StrategyDescription strategy, Plugins plugins) =>
        plugins.Guard(strategy.Name, () => (StrategyOutline.Of(strategy), strategy.Options));

    private static ListedStrategy ToJson(StrategyDescription strategy, Plugins plugins)
    {
        (StrategyOutline? outline, IReadOnlyList<OptionDescription> options) = Outline(strategy, plugins);
        return new ListedStrategy(
            strategy.Name, strategy.Summary, strategy.Paper, outline?.Kinds, outline?.State.Select(slot => slot.Name).ToArray(), options);
    }

    private static string FedAvgOptionNames() =>
        string.Join(", ", StrategyRegistry.Default.Find("fedavg")!.Options.Select(option => option.Name));

    private void Write(string header, IReadOnlyList<OptionDescription> options)
    {
        var table = new ResultTable(header, "values", "default", "what it does");
        foreach (OptionDescription option in options)
            table.Add(option.Name, option.Values, option.Default, option.Summary);
        Terminal.Table(table);
    }
}
