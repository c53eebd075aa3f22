using FedICU.Files.Adapters;
using FedICU.Rounds.Checks;
using FedICU.Strategies.Abstractions;
using FedICU.Text;

namespace FedICU.Rounds.Lora;

/// <summary>
/// The LoRA pairs of a model, with their scaling (docs/algorithms.md, LoRA adapters: pairs). This is the only place
/// that decides which two factors are one product; every other tensor is aggregated by itself.
/// </summary>
internal sealed class LoraPairs
{
    // modules that a note lists: chosen, what a person reads
    private const int ListedModules = 3;

    // characters of a module's name and of a shape in a note: chosen
    private const int LongestName = 150;
    private const int LongestShape = 60;

    private LoraPairs(IReadOnlyList<LoraPair> all, IReadOnlyList<(string Module, string Reason)> others) => (All, Others) = (all, others);

    /// <summary>No pairs, for rounds that do not need them.</summary>
    public static LoraPairs None { get; } = new([], []);

    /// <summary>Pairs that were found before.</summary>
    public static LoraPairs Of(IReadOnlyList<LoraPair> all) => new(all, []);

    /// <summary>The pairs in the model's order of their first factor.</summary>
    public IReadOnlyList<LoraPair> All { get; }

    /// <summary>Modules whose tensors have the names of LoRA's factors but form no pair, with the reasons.</summary>
    public IReadOnlyList<(string Module, string Reason)> Others { get; }

    /// <summary>Finds the pairs by names, shapes and, if there is one, the configuration.</summary>
    /// <param name="model">The global model.</param>
    /// <param name="config">The configuration of the round's adapters; null if there is none.</param>
    /// <param name="comparesRanks">
    /// Whether the configuration is the model's own, so that it must state its ranks.
    /// </param>
    /// <param name="cancellationToken">Ends the search.</param>
    public static LoraPairs Find(
        TensorSource model, PeftAdapterConfig? config, bool comparesRanks = true, CancellationToken cancellationToken = default)
    {
        var modules = new Dictionary<string, LoraModule>(StringComparer.Ordinal);
        var inOrder = new List<LoraModule>();
        foreach (TensorInfo tensor in model.Tensors)
        {
            if (LoraName.Parse(tensor.Name) is not { } name)
                continue;
            if (!modules.TryGetValue(name.Module, out LoraModule? module))
                inOrder.Add(modules[name.Module] = module = new LoraModule(name.Module));
            module.Add(name, tensor);
        }

        var pairs = new List<LoraPair>();
        var others = new List<(string, string)>();
        AdapterModules? configured = config is null ? null : new AdapterModules(config);
        foreach (LoraModule module in inOrder)
        {
            cancellationToken.ThrowIfCancellationRequested();
            foreach (LoraFactors factors in module.Factors)
            {
                if (DescribeObstacle(module, factors, configured, comparesRanks) is { } reason)
                    others.Add((module.Name, reason));
                else
                    pairs.Add(CreatePair(model, module, factors.A!, factors.B!, configured));
            }
        }

        return new LoraPairs(pairs, others);
    }

    /// <summary>Finds the pairs of an adapter that is used by itself, outside a round.</summary>
    /// <param name="adapter">The adapter.</param>
    /// <param name="scaling">The scaling of pairs that state none; null if none was given.</param>
    /// <param name="cancellationToken">Ends the search.</param>
    /// <exception cref="RoundRejectedException">
    /// There are none, a module is no plain pair, or the scaling is missing or without effect.
    /// </exception>
    public static LoraPairs FindPlain(TensorSource adapter, double? scaling, CancellationToken cancellationToken)
    {
        LoraPairs pairs = Find(adapter, adapter.AdapterConfig, comparesRanks: true, cancellationToken);
        string name = Sentence.Quote(adapter.Location);
        if (pairs.Others.Count > 0)
        {
            (string module, string reason) = pairs.Others[0];
            throw RoundCheck.CreateRefusal($"Module {Sentence.Quote(module)} of the adapter {name} is no pair of plain LoRA: {reason}.");
        }

        if (pairs.All.Count == 0)
            throw RoundCheck.CreateRefusal($"The adapter {name} has no LoRA pairs; at least one was expected.");
        LoraPair? silent = pairs.All.FirstOrDefault(pair => pair.Scaling is null);
        if (silent is not null && scaling is null)
        {
            throw RoundCheck.CreateRefusal(
                $"No configuration or alpha states the scaling of the LoRA pair {Sentence.Quote(silent.Module)}; " +
                "an adapter folder or a scaling (--scaling) was expected.");
        }

        if (silent is null && scaling is { } unused)
        {
            throw RoundCheck.CreateRefusal(
                $"The adapter {name} states its own scaling, so the given one (--scaling), {Numbers.Invariant(unused)}, has no effect.");
        }

        return pairs;
    }

    /// <summary>
    /// Creates a note about the modules that have LoRA's names but form no pair; null if there are none.
    /// </summary>
    public string? DescribeOthers()
    {
        if (Others.Count == 0)
            return null;
        IEnumerable<string> listed =
            Others.Take(ListedModules).Select(other => $"'{Sentence.Clean(other.Module, LongestName)}' ({other.Reason})");
        string more = Others.Count > ListedModules ? $" and {Sentence.Count(Others.Count - ListedModules, "more module")}" : "";
        return $"The factors of {string.Join(", ", listed)}{more} form no product B A: " +
            "each was averaged by itself, was not balanced and has no cross-term.";
    }

    /// <summary>
    /// Describes pairs for a sentence: the first by its name, the others by their number; null if there are none.
    /// </summary>
    public static string? Describe(IEnumerable<LoraPair> pairs) => pairs.ToList() switch
    {
        [] => null,
        [var only] => Sentence.Quote(only.Module),
        var all => $"{Sentence.Quote(all[0].Module)} and of {Sentence.Count(all.Count - 1, "more LoRA pair")}",
    };

    /// <summary>Describes why two factors are not a pair; null if they are one.</summary>
    private static string? DescribeObstacle(LoraModule module, LoraFactors factors, AdapterModules? config, bool comparesRanks)
    {
        if (module.DescribeObstacle(factors) is { } obstacle)
            return obstacle;
        if (config?.WhyNotPlain is { } variant)
            return variant;
        if (config is null ? LoraName.IsOfParameters(module.Name) : config.IsOfParameters(module.Name))
            return "target_parameters";
        if (factors is not { A: { } a, B: { } b })
            return $"{(factors.A is null ? factors.Names.A : factors.Names.B)} is missing";
        if (!a.DType.IsComputed || !b.DType.IsComputed)
            return $"the types {a.DType.SafetensorsName} and {b.DType.SafetensorsName}";
        if (!LoraPair.Fit(a.Shape, b.Shape))
            return $"the shapes {Short(a)} and {Short(b)}";
        if (config is not null && comparesRanks && config.Rank(module.Name) is var rank && rank != a.Shape.Dimensions[0])
        {
            return rank is null
                ? "a rank_pattern that cannot be read"
                : $"rank {a.Shape.Dimensions[0]}, but {rank} in adapter_config.json";
        }

        return null;

        static string Short(TensorInfo factor) => Sentence.Clean(factor.Shape.ToString(), LongestShape);
    }

    private static LoraPair CreatePair(TensorSource model, LoraModule module, TensorInfo a, TensorInfo b, AdapterModules? config) =>
        new(module.Name, a, b, ReadScaling(model, module.Name, module.Alpha, a.Shape.Dimensions[0], config)) { Alpha = module.Alpha };

    /// <summary>
    /// Reads the scaling from the alpha tensor beside the factors or from the configuration; null if neither has it.
    /// </summary>
    public static double? ReadScaling(TensorSource model, string module, TensorInfo? alphaTensor, long rank, AdapterModules? config)
    {
        if (alphaTensor is not null)
            return LoraAlphas.Read(model, alphaTensor) is { } alpha && double.IsFinite(alpha)
                ? AdapterModules.Scaling(alpha, rank, useRsLora: false) : null;
        return config?.Scaling(module, rank);
    }
}
