using FedICU.Model;

namespace FedICU.Registry;

/// <summary>The library's own strategies.</summary>
internal static class LibraryStrategies
{
    /// <summary>The strategies in the order of help texts.</summary>
    public static IReadOnlyList<StrategyDescription> All { get; } =
    [
        new("fedavg", "The mean of the clients' parameters by their numbers of examples.", "McMahan et al. 2017", reader =>
        {
            FedAvgOptions options = ReadFedAvg(reader);
            return () => [new FedAvg(options)];
        }),
        new("fedprox", "The same mean; the clients add a proximal term to their loss.", "Li et al. 2020", reader =>
        {
            var options = new FedProxOptions
            {
                Mu = reader.Number(
                    "mu", new FedProxOptions().Mu, "The strength of the clients' proximal term, at least 0; no effect on the server."),
            };
            return () => [new FedProx(options)];
        }),
        new("fedicu", "Splits models into magnitudes, which are averaged, and directions, which are aligned.", "Liao et al. 2025", reader =>
        {
            FedIcuOptions options = ReadFedIcu(reader);
            return () => options.BalanceLora ? [new FedIcu(options), new LoraBalance()] : [new FedIcu(options)];
        }),
        .. RobustStrategies.All,
        .. ServerStrategies.All,
        .. LoraRules.All,

        .. MergingStrategies.All,
        new(Balance, "Rewrites LoRA pairs so that both factors carry the same singular values.", "", _ => () => [new LoraBalance()]),
    ];

    /// <summary>
    /// The name of the stage that balances LoRA pairs, and of the option that adds it to any strategy.
    /// </summary>
    public const string Balance = "balance";

    /// <summary>Reads whether LoRA pairs are balanced after any strategy.</summary>
    public static bool ReadBalance(OptionReader reader, bool defaultValue = false) =>
        reader.Flag(Balance, defaultValue, "Whether LoRA pairs are balanced after the merge.");

    /// <summary>Reads the options of the mean, which also is the merge of strategies without one.</summary>
    public static FedAvgOptions ReadFedAvg(OptionReader reader) => new()
    {
        Weighting = ReadWeighting(reader, Weighting.Share),
    };

    private static FedIcuOptions ReadFedIcu(OptionReader reader)
    {
        FedIcuOptions defaults = reader.Choice("preset", new FedIcuOptions(), "Options that others change: the paper's, or our variant.",
            ("paper", FedIcuOptions.Paper), ("balanced", FedIcuOptions.Balanced));
        FedIcuOptions options = defaults with
        {
            Tau = reader.Number("tau", defaults.Tau, "The temperature of the weights softmax(s / tau), above 0; inf: all weigh the same."),
            Epsilon = reader.Number("eps", defaults.Epsilon, "The largest norm that counts as 0; at least 0."),
            Axis = reader.Choice("axis", defaults.Axis, "What a magnitude is the norm of.",
                ("columns", NormAxis.Columns), ("rows", NormAxis.Rows), ("tensor", NormAxis.Tensor)),
            Similarity = reader.Choice("similarity", defaults.Similarity, "What a client's direction is compared with.",
                ("pairwise", Similarity.Pairwise), ("pairwise-self", Similarity.PairwiseWithSelf),
                ("mean", Similarity.MeanDirection), ("previous", Similarity.PreviousDirection)),
            Granularity = reader.Choice(
                "granularity", defaults.Granularity, "Whether each tensor has its own weights, or the model one set.",
                ("tensor", Granularity.Tensor), ("model", Granularity.Model)),
            Weights = reader.Choice("weights", defaults.Weights, "How similarities become weights.",
                ("softmax", WeightRule.Softmax), ("relu", WeightRule.Relu), ("raw", WeightRule.Raw)),
            TimesShare = reader.Flag("times-share", defaults.TimesShare, "Whether weights are multiplied by the clients' shares."),
            Consensus = reader.Choice("consensus", defaults.Consensus, "How magnitudes are averaged.",
                ("uniform", ConsensusRule.Uniform), ("share", ConsensusRule.Share)),
            Target = reader.Choice("target", defaults.Target, "Whether parameters or updates are split.",
                ("parameters", SplitTarget.Parameters), ("delta", SplitTarget.Delta)),
            Coherence = reader.Number("coherence", defaults.Coherence, "How far the length of the combined direction counts, from 0 to 1."),
            BalanceLora = ReadBalance(reader, defaults.BalanceLora),
        };
        reader.RefuseUnused("tau", options.Weights == WeightRule.Softmax, "without weights=softmax");
        return options;
    }

    /// <summary>Reads how clients weigh.</summary>
    public static Weighting ReadWeighting(OptionReader reader, Weighting defaultValue) => reader.Choice(
        "weighting", defaultValue, "How the clients weigh: by their numbers of examples, or all the same.",
        ("share", Weighting.Share), ("uniform", Weighting.Uniform));
}
