namespace FedICU.Files.Adapters;

/// <summary>What a LoRA configuration says of single modules, as PEFT reads it.</summary>
internal sealed class AdapterModules(PeftAdapterConfig config)
{
    private const string Prefix = "base_model.model.", Wrapper = ".base_layer";

    private readonly ModulePatterns<int> _ranks = new(config.RanksAsWritten());
    private readonly ModulePatterns<double> _alphas = new(config.AlphasAsWritten());
    // the modules of the parameters, as "mlp.experts" of "mlp.experts.down_proj"; of a parameter alone any module may be meant
    private readonly string[] _ofParameters =
        [.. config.TargetParameters().Select(name => name.LastIndexOf('.') is var dot and >= 0 ? name[..dot] : "").Distinct()];

    /// <summary>Why no module is plain LoRA; null where the configuration says that they are.</summary>
    public string? WhyNotPlain { get; } = config.WhyNotPlainLora();

    /// <summary>Whether the module holds a parameter of target_parameters: its factors may be those of several experts.</summary>
    public bool IsOfParameters(string module)
    {
        string key = Key(module);
        return Array.Exists(_ofParameters, name => name.Length == 0 || key == name || key.EndsWith("." + name, StringComparison.Ordinal));
    }

    /// <summary>The rank of the module's factors; null where rank_pattern cannot be read.</summary>
    public int? Rank(string module) => _ranks.TryFind(Key(module), out int? rank) ? rank ?? config.Rank : null;

    /// <summary>s of the module, whose rank is <paramref name="rank"/>; null where alpha_pattern cannot be read.</summary>
    public double? Scaling(string module, long rank) =>
        _alphas.TryFind(Key(module), out double? alpha) ? (alpha ?? config.LoraAlpha) / (config.UseRsLora ? Math.Sqrt(rank) : rank) : null;

    /// <summary>The module's name in the base model, which PEFT's patterns are matched with.</summary>
    private static string Key(string module) =>
        (module.StartsWith(Prefix, StringComparison.Ordinal) ? module[Prefix.Length..] : module)
        .Replace(Wrapper, "", StringComparison.Ordinal);
}
