using System.Globalization;
using FedICU;

namespace FederatedLanguages;

/// <summary>A strategy of the library's registry with its options: one column of the table.</summary>
internal sealed class StrategyChoice
{
    // the name of the library's preset of FedICU for LoRA, which has a column of its own
    private const string Balanced = "balanced";

    private const string Root = "root";

    private const string Seed = "seed";

    private readonly List<KeyValuePair<string, string>> _settings;

    private StrategyChoice(string name, List<KeyValuePair<string, string>> settings)
    {
        (Name, Rule) = (name, name == Balanced ? "fedicu" : name);
        _settings = name == Balanced ? [new("preset", Balanced), .. settings] : settings;
        NeedsRoot = HasOption(Rule, Root);
    }

    /// <summary>The strategies that <c>--compare</c> runs.</summary>
    public static IReadOnlyList<string> Compared { get; } = ["fedavg", "fedprox", "fedicu", Balanced];

    /// <summary>The strategies of a run with an attack. Those after the first are robust.</summary>
    public static IReadOnlyList<string> UnderAttack { get; } =
        ["fedavg", "median", "trimmed-mean", "multi-krum", "bulyan", "geometric-median", "norm-clip"];

    /// <summary>The names of all strategies.</summary>
    public static IReadOnlyList<string> Known { get; } = [.. StrategyRegistry.Default.Names, Balanced];

    /// <summary>The name of the column.</summary>
    public string Name { get; }

    /// <summary>The name in the registry: one strategy, or several joined by commas.</summary>
    public string Rule { get; }

    /// <summary>Whether the strategy compares clients with a model that the server trains in every round.</summary>
    public bool NeedsRoot { get; }

    /// <summary>Chooses strategies by name.</summary>
    /// <param name="names">One name for each column: one strategy, or several joined by commas.</param>
    /// <param name="settings">The options. Each goes to the strategies that have it.</param>
    /// <param name="seed">The seed of strategies that draw random numbers.</param>
    /// <exception cref="UsageException">
    /// A strategy is unknown, given twice, or needs what the clients do not send.
    /// </exception>
    /// <exception cref="FedIcuException">An option is wrong.</exception>
    public static IReadOnlyList<StrategyChoice> Choose(
        IReadOnlyList<string> names, IReadOnlyList<KeyValuePair<string, string>> settings, int seed)
    {
        if (names.Count == 0)
            throw new UsageException("'--strategies' names no strategy.");
        if (names.GroupBy(name => name).FirstOrDefault(group => group.Count() > 1) is { } duplicate)
            throw new UsageException($"The strategy '{duplicate.Key}' was given twice.");
        foreach (string part in names.Where(name => name != Balanced).SelectMany(name => name.Split(',')))
        {
            if (StrategyRegistry.Default.Find(part) is null)
                throw new UsageException($"The aggregator '{part}' is unknown; {string.Join(", ", Known)} are known.");
        }

        var choices = new List<StrategyChoice>();
        foreach (string name in names)
        {
            // the first column also gets the options that no strategy has: the registry's error names them
            bool isFirst = choices.Count == 0;
            List<KeyValuePair<string, string>> own =
            [
                .. settings.Where(setting => Applies(name, setting.Key) || isFirst && !names.Any(other => Applies(other, setting.Key))),
            ];
            // a strategy that draws random numbers, such as dp-fedavg, gives the same table for the same seed
            if (HasOption(name, Seed) && !own.Exists(setting => setting.Key.Split('.')[^1] == Seed))
                own.Add(new(Seed, seed.ToString(CultureInfo.InvariantCulture)));
            var choice = new StrategyChoice(name, own);
            if (choice.Create(Root).Aggregator.Stages.FirstOrDefault(stage => stage.ReadsControls) is { } stage)
            {
                throw new UsageException(
                    $"The strategy '{stage.Name}' needs control variates, which this sample's clients do not send; " +
                    "--set control=derived --set local-lr=0.001 derives them.");
            }

            choices.Add(choice);
        }

        return choices;
    }

    /// <summary>Creates the rule.</summary>
    /// <param name="root">The model that the server trained, for a strategy that <see cref="NeedsRoot"/>.</param>
    public ConfiguredRound Create(string root) => StrategyRegistry.Default.Create(Rule, Settings(root));

    /// <summary>Gets the options with which <c>fedicu</c> creates the rule.</summary>
    public string Arguments(string root) =>
        string.Concat(Settings(root).Select(setting => $" --set {setting.Key}={setting.Value}").Prepend($"--strategy {Rule}"));

    private IEnumerable<KeyValuePair<string, string>> Settings(string root) =>
        NeedsRoot ? _settings.Append(new(Root, root)) : _settings;

    /// <summary>Whether an option, written <c>option</c> or <c>strategy.option</c>, is one of a column's.</summary>
    private static bool Applies(string name, string option) => option.Split('.') is [var owner, _]
        ? Parts(name).Any(strategy => strategy.Name == owner)
        : HasOption(name, option) || StrategyRegistry.RoundOptions.Any(known => known.Name == option);

    private static bool HasOption(string name, string option) =>
        Parts(name).Any(strategy => strategy.Options.Any(known => known.Name == option));

    private static IEnumerable<StrategyDescription> Parts(string name) =>
        (name == Balanced ? "fedicu" : name).Split(',').Select(part => StrategyRegistry.Default.Find(part)!);
}
