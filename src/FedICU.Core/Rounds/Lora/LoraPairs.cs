using FedICU.Files.Adapters;
using FedICU.Text;

namespace FedICU.Rounds.Lora;

/// <summary>
/// Decides which tensors of a model form LoRA pairs and with which scaling (docs/algorithms.md, LoRA adapters: pairs). All that treats two
/// factors as one product
/// asks here; every other tensor stands for itself.
/// </summary>
internal sealed class LoraPairs
{
    // a note names no more modules than a person reads
    private const int Named = 3, LongestName = 150, LongestShape = 60;

    private LoraPairs(IReadOnlyList<LoraPair> all, IReadOnlyList<(string Module, string Reason)> others) => (All, Others) = (all, others);

    /// <summary>No pairs, where nobody asks for them.</summary>
    public static LoraPairs None { get; } = new([], []);

    /// <summary>The pairs in the model's order of their first factor.</summary>
    public IReadOnlyList<LoraPair> All { get; }

    /// <summary>Modules whose tensors are named as LoRA's factors and form no pair, and why.</summary>
    public IReadOnlyList<(string Module, string Reason)> Others { get; }

    /// <summary>Decides by the configuration, names and shapes; without a configuration by names and shapes.</summary>
    /// <param name="model">The global model.</param>
    /// <param name="config">The configuration of the round's adapters, null where there is none.</param>
    /// <param name="cancellationToken">Stops early.</param>
    public static LoraPairs Find(TensorSource model, PeftAdapterConfig? config, CancellationToken cancellationToken = default)
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
        AdapterModules? decided = config is null ? null : new AdapterModules(config);
        foreach (LoraModule module in inOrder)
        {
            cancellationToken.ThrowIfCancellationRequested();
            foreach (LoraFactors factors in module.Factors)
            {
                if (Refuse(module, factors, decided) is { } reason)
                    others.Add((module.Name, reason));
                else
                    pairs.Add(Pair(model, module, factors.A!, factors.B!, decided));
            }
        }

        return new LoraPairs(pairs, others);
    }

    /// <summary>A note that names the modules that look like LoRA's and are no pair; null where there are none.</summary>
    public string? DescribeOthers()
    {
        if (Others.Count == 0)
            return null;
        string named = string.Join(", ", Others.Take(Named).Select(other => $"'{Sentence.Clean(other.Module, LongestName)}' ({other.Reason})"));
        string more = Others.Count > Named ? $" and {Sentence.Count(Others.Count - Named, "more module")}" : "";
        return $"The factors of {named}{more} form no product B A: " +
            "each was averaged as a tensor of its own, they are not balanced and have no cross-term.";
    }

    /// <summary>The pairs in a sentence: the first by its name, the others by their number; null where there are none.</summary>
    public static string? Name(IEnumerable<LoraPair> pairs) => pairs.ToList() switch
    {
        [] => null,
        [var only] => Sentence.Quote(only.Module),
        var all => $"{Sentence.Quote(all[0].Module)} and of {Sentence.Count(all.Count - 1, "more LoRA pair")}",
    };

    private static string? Refuse(LoraModule module, LoraFactors factors, AdapterModules? config)
    {
        if (module.Obstacle(factors) is { } obstacle)
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
        if (config is not null && config.Rank(module.Name) is var rank && rank != a.Shape.Dimensions[0])
        {
            return rank is null
                ? "a rank_pattern that cannot be read"
                : $"rank {a.Shape.Dimensions[0]} where adapter_config.json has {rank}";
        }

        return null;

        static string Short(TensorInfo factor) => Sentence.Clean(factor.Shape.ToString(), LongestShape);
    }

    private static LoraPair Pair(TensorSource model, LoraModule module, TensorInfo a, TensorInfo b, AdapterModules? config) =>
        new(module.Name, a, b, Scaling(model, module, a.Shape.Dimensions[0], config));

    /// <summary>alpha / r, from the tensor beside the factors or from the configuration.</summary>
    private static double? Scaling(TensorSource model, LoraModule module, long rank, AdapterModules? config)
    {
        if (module.Alpha is not null)
            return LoraAlphas.Read(model, module.Alpha) is { } alpha && double.IsFinite(alpha) ? alpha / rank : null;
        return config?.Scaling(module.Name, rank);
    }
}
