using FedICU.Model;
using FedICU.Registry;

namespace FedICU;

/// <summary>
/// Creates the library's strategies from names and options: for command lines, configuration files and bridges.
/// </summary>
public static class AggregatorCatalog
{
    // in the order of Names
    private static readonly (string Name, Func<Settings, (Action Validate, Func<IAggregator> Make, bool Balance)> Read)[] Strategies =
    [
        ("fedavg", _ => (() => { }, () => new FedAvgAggregator(), false)),
        ("fedprox", FedProx),
        ("fedicu", FedIcu),
    ];

    /// <summary>The strategies' names: fedavg, fedprox, fedicu.</summary>
    public static IReadOnlyList<string> Names { get; } = [.. Strategies.Select(strategy => strategy.Name)];

    /// <summary>Creates a strategy and the round's options.</summary>
    /// <param name="strategy">One of <see cref="Names"/>.</param>
    /// <param name="settings">
    /// The strategy's and the round's options by name (docs/command-line.md, Options for --set).
    /// </param>
    /// <param name="options">The round's options to which the settings are applied; null: the defaults.</param>
    /// <exception cref="InvalidOptionsException">
    /// The strategy is unknown, or an option's name or value is wrong; the message lists every error.
    /// </exception>
    public static ConfiguredRound Create(string strategy, IEnumerable<KeyValuePair<string, string>> settings, RoundOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(settings);
        int index = Array.FindIndex(Strategies, known => known.Name == strategy);
        if (index < 0)
            throw new InvalidOptionsException([$"The strategy '{strategy}' is unknown; {string.Join(", ", Names)} are known."]);
        var read = new Settings(settings);
        (Action validate, Func<IAggregator> make, bool balance) = Strategies[index].Read(read);
        options ??= new RoundOptions();
        RoundOptions round = ReadRoundOptions(read, options with { BalanceLora = options.BalanceLora || balance });
        read.Finish(validate, round.Validate);
        return new ConfiguredRound(make(), round);
    }

    private static (Action, Func<IAggregator>, bool) FedProx(Settings settings)
    {
        var options = new FedProxOptions { Mu = settings.Number("mu", new FedProxOptions().Mu) };
        return (options.Validate, () => new FedProxAggregator(options), false);
    }

    private static (Action, Func<IAggregator>, bool) FedIcu(Settings settings)
    {
        (FedIcuOptions defaults, bool balance) = settings.Choice("preset", (new FedIcuOptions(), false),
            ("paper", (FedIcuOptions.Paper, false)), ("balanced", (FedIcuOptions.Balanced, true)));
        var options = defaults with
        {
            Tau = settings.Number("tau", defaults.Tau),
            Epsilon = settings.Number("eps", defaults.Epsilon),
            Axis = settings.Choice("axis", defaults.Axis,
                ("columns", NormAxis.Columns), ("rows", NormAxis.Rows), ("tensor", NormAxis.Tensor)),
            Similarity = settings.Choice("similarity", defaults.Similarity,
                ("pairwise", Similarity.Pairwise), ("pairwise-self", Similarity.PairwiseWithSelf),
                ("mean", Similarity.MeanDirection), ("previous", Similarity.PreviousDirection)),
            Granularity = settings.Choice("granularity", defaults.Granularity,
                ("tensor", Granularity.Tensor), ("model", Granularity.Model)),
            Weights = settings.Choice("weights", defaults.Weights,
                ("softmax", WeightRule.Softmax), ("relu", WeightRule.Relu), ("raw", WeightRule.Raw)),
            TimesShare = settings.Flag("times-share", defaults.TimesShare),
            Consensus = settings.Choice("consensus", defaults.Consensus,
                ("uniform", ConsensusRule.Uniform), ("share", ConsensusRule.Share)),
            Target = settings.Choice("target", defaults.Target,
                ("parameters", SplitTarget.Parameters), ("delta", SplitTarget.Delta)),
            Coherence = settings.Number("coherence", defaults.Coherence),
        };
        return (options.Validate, () => new FedIcuAggregator(options), balance);
    }

    /// <summary>
    /// Parses prefixes joined by commas; <c>true</c> means those that PyTorch's wrappers add, <c>false</c> none.
    /// </summary>
    private static IReadOnlyList<string>? ParsePrefixes(string? text) => text switch
    {
        null => null,
        "true" => TensorNames.Known,
        "false" => [],
        _ => text.Split(','),
    };

    private static RoundOptions ReadRoundOptions(Settings settings, RoundOptions options)
    {
        FaultPolicy Policy(string name, FaultPolicy defaultValue) => settings.Choice(
            name, defaultValue, ("reject", FaultPolicy.Reject), ("drop-client", FaultPolicy.DropClient),
            ("drop-tensor", FaultPolicy.DropTensor));
        return options with
        {
            Quorum = settings.Count("quorum", options.Quorum),
            OnNonFinite = Policy("on-nonfinite", options.OnNonFinite),
            OnMissing = Policy("on-missing", options.OnMissing),
            OnExtra = Policy("on-extra", options.OnExtra),
            OnShape = Policy("on-shape", options.OnShape),
            OnDType = Policy("on-dtype", options.OnDType),
            OnBase = Policy("on-base", options.OnBase),
            OnUnreadable = Policy("on-unreadable", options.OnUnreadable),
            OnWeight = Policy("on-weight", options.OnWeight),
            MaxWeight = settings.Number("max-weight", options.MaxWeight),
            OnConfig = settings.Choice("on-config", options.OnConfig,
                ("reject", ConfigPolicy.Reject), ("drop-client", ConfigPolicy.DropClient), ("ignore-base", ConfigPolicy.IgnoreBase)),
            OnQuantized = settings.Choice("on-quantized", options.OnQuantized,
                ("reject", QuantizedPolicy.Reject), ("drop-client", QuantizedPolicy.DropClient), ("keep", QuantizedPolicy.Keep)),
            OnChanged = Policy("on-changed", options.OnChanged),
            OnStale = settings.Choice("on-stale", options.OnStale,
                ("note", StalePolicy.Note), ("reject", StalePolicy.Reject), ("drop-client", StalePolicy.DropClient)),
            StripPrefixes = ParsePrefixes(settings.Take("strip-prefix")) ?? options.StripPrefixes,
            Integers = settings.Choice("integers", options.Integers, ("mean", IntegerRule.Mean), ("keep", IntegerRule.Keep)),
            BalanceLora = settings.Flag("balance", options.BalanceLora),
        };
    }
}
