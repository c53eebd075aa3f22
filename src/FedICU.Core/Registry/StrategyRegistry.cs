using FedICU.Registry;
using FedICU.Strategies.Abstractions;
using FedICU.Text;

namespace FedICU;

/// <summary>
/// The strategies that can be chosen by name, with their options: for command lines, configurations and bridges. A new
/// registry holds the library's strategies; others are added.
/// </summary>
public sealed class StrategyRegistry
{
    private readonly Lock _gate = new();
    private volatile IReadOnlyList<StrategyDescription> _strategies = LibraryStrategies.All;

    /// <summary>
    /// Gets the registry of the process, which the bridges use. Add to it when the program starts.
    /// </summary>
    public static StrategyRegistry Default { get; } = new();

    /// <summary>Gets the strategies, the library's first.</summary>
    public IReadOnlyList<StrategyDescription> Strategies => _strategies;

    /// <summary>Gets the strategies' names.</summary>
    public IReadOnlyList<string> Names => [.. _strategies.Select(strategy => strategy.Name)];

    /// <summary>Gets the options that every round has, whatever its strategy.</summary>
    public static IReadOnlyList<OptionDescription> RoundOptions
    {
        get
        {
            var reader = new OptionReader([]);
            LibraryStrategies.ReadBalance(reader);
            RoundSettings.Read(reader, new RoundOptions());
            return reader.Options;
        }
    }

    /// <summary>Adds a strategy.</summary>
    /// <param name="strategy">The strategy.</param>
    /// <exception cref="ArgumentException">The name is taken or is no name.</exception>
    public void Add(StrategyDescription strategy)
    {
        ArgumentNullException.ThrowIfNull(strategy);
        if (strategy.Name.Length == 0 || !strategy.Name.All(c => c is '-' or (>= 'a' and <= 'z') or (>= '0' and <= '9')))
        {
            throw new ArgumentException(
                $"The strategy's name is {Sentence.Quote(strategy.Name)}; lower-case letters, digits and hyphens were expected.",
                nameof(strategy));
        }

        lock (_gate)
        {
            if (Find(strategy.Name) is not null)
                throw new ArgumentException($"The strategy '{strategy.Name}' is registered already.", nameof(strategy));
            _strategies = [.. _strategies, strategy];
        }
    }

    /// <summary>Finds a strategy; null if the name is unknown.</summary>
    public StrategyDescription? Find(string name) => _strategies.FirstOrDefault(known => known.Name == name);

    /// <summary>Creates a rule and the round's options.</summary>
    /// <param name="strategy">
    /// One of <see cref="Names"/>, or several joined by commas in the order of their stages: <c>krum,fedadam</c>.
    /// </param>
    /// <param name="settings">
    /// The options of the strategies and of the round by name (docs/strategies.md). An option that several strategies
    /// have is written <c>strategy.option</c>.
    /// </param>
    /// <param name="options">The round's options to which the settings are applied; null: the defaults.</param>
    /// <exception cref="InvalidOptionsException">
    /// A strategy is unknown, the strategies make no rule, or an option's name or value is wrong; the message lists
    /// every error.
    /// </exception>
    public ConfiguredRound Create(string strategy, IEnumerable<KeyValuePair<string, string>> settings, RoundOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(strategy);
        ArgumentNullException.ThrowIfNull(settings);
        StrategyDescription[] strategies = [.. strategy.Split(',', StringSplitOptions.TrimEntries).Select(Require)];
        var reader = new OptionReader(settings);
        Func<IReadOnlyList<Stage>>[] makers = ReadAll(strategies, reader);
        var stages = new List<Stage>();
        bool isMade = true;
        for (int i = 0; i < makers.Length; i++)
        {
            Func<IReadOnlyList<Stage>> make = makers[i];
            // an option of one of several strategies is written with its name
            isMade &= reader.Try(
                () => stages.AddRange(make()), strategies[i].Name, makers.Length > 1 ? $"{strategies[i].Name}: " : "");
        }
        // a strategy of several stages brings parts for other places
        stages = StageSequence.PlaceParts(stages);
        // a strategy may bring a step of pairs, which comes after the server steps of others
        stages = [.. stages.OrderBy(stage => stage is PairStep)];
        FedAvgOptions implied = new();
        bool hasMerge = isMade
            ? stages.OfType<MergeRule>().Any() : strategies.Any(known => StrategyOutline.Of(known) is { HasMerge: true });
        if (!hasMerge)
        {
            // the options of the strategies go before those of the merge that nobody named
            reader.Begin("fedavg", strategies.SelectMany(known => known.Options.Select(option => option.Name)), yields: true);
            implied = LibraryStrategies.ReadFedAvg(reader);
        }

        reader.Begin(null, []);
        bool asksBalance = strategies.SelectMany(known => known.Options).Any(option => option.Name == LibraryStrategies.Balance);
        if (!asksBalance && LibraryStrategies.ReadBalance(reader) && !stages.OfType<LoraBalance>().Any())
            stages.Add(new LoraBalance());
        RoundOptions round = RoundSettings.Read(reader, options ?? new RoundOptions());
        reader.Try(round.Validate);
        if (stages.FirstOrDefault(stage => stage.KeepsIntegers) is { } keeper)
        {
            reader.RefuseUnused(
                "integers", round.Integers == IntegerRule.Keep,
                $"beside {Sentence.Quote(keeper.RuleName)}, which always keeps the global model's integers",
                refusesDefault: true);
        }

        reader.Finish();
        return new ConfiguredRound(new StageAggregator(stages, implied), round);
    }

    private StrategyDescription Require(string name) => Find(name) ??
        throw new InvalidOptionsException([DescribeUnknown(name)]);

    /// <summary>Returns the sentence for a name that is none of <see cref="Names"/>.</summary>
    internal string DescribeUnknown(string name) =>
        $"The strategy '{name}' is unknown;{Suggestion.Ask(name, Names)} {string.Join(", ", Names)} are known.";

    private static Func<IReadOnlyList<Stage>>[] ReadAll(StrategyDescription[] strategies, OptionReader reader)
    {
        var makers = new Func<IReadOnlyList<Stage>>[strategies.Length];
        for (int i = 0; i < strategies.Length; i++)
        {
            IEnumerable<StrategyDescription> others = strategies.Where(other => other != strategies[i]);
            reader.Begin(strategies[i].Name, others.SelectMany(other => other.Options.Select(option => option.Name)));
            makers[i] = strategies[i].Read(reader);
        }

        return makers;
    }
}
