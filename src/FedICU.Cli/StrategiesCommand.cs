using System.CommandLine;
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

    public StrategiesCommand(Terminal terminal) : base("strategies", "Lists the strategies, or describes one with its options.", terminal)
    {
        Add(_name);
        Add(_plugins);
    }

    public override IReadOnlyList<string> Examples => ["fedicu strategies", "fedicu strategies krum"];

    protected override Task<int> RunAsync(ParseResult line, CancellationToken cancellationToken)
    {
        Plugins plugins = Plugins.Load(line.GetValue(_plugins));
        if (line.GetValue(_name) is { } name)
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
        StrategyDescription strategy = plugins.Registry.Find(name) ?? throw Flags.UnknownStrategy(name, plugins.Registry);
        (StrategyOutline? outline, IReadOnlyList<OptionDescription> options) =
            plugins.Guard(name, () => (StrategyOutline.Of(strategy), strategy.Options));
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
