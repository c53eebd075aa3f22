namespace FedICU.Files.Adapters;

/// <summary>Answers questions about single modules from a LoRA configuration, by the rules of PEFT.</summary>
internal sealed class AdapterModules(PeftAdapterConfig config)
{
    // what PEFT adds to module names: a prefix, and an infix for each wrapped layer
    private const string Prefix = "base_model.model.";
    private const string Wrapper = ".base_layer";

    private readonly ModulePatterns<int> _ranks = new(config.RanksAsWritten());
    private readonly ModulePatterns<double> _alphas = new(config.AlphasAsWritten());
    // The modules that own the target parameters: "mlp.experts" for "mlp.experts.down_proj". A name without a module
    // (an empty string here) may belong to any module.
    private readonly string[] _parameterModules =
        [.. config.TargetParameters().Select(name => name.LastIndexOf('.') is var dot and >= 0 ? name[..dot] : "").Distinct()];

    /// <summary>
    /// Gets the reason why no module is plain LoRA, or null if the configuration describes plain LoRA.
    /// </summary>
    public string? WhyNotPlain { get; } = config.WhyNotPlainLora();

    /// <summary>
    /// Determines whether the module owns a parameter of target_parameters. Its factors may then be those of several
    /// experts.
    /// </summary>
    public bool IsOfParameters(string module)
    {
        string key = Key(module);
        return Array.Exists(
            _parameterModules, name => name.Length == 0 || key == name || key.EndsWith("." + name, StringComparison.Ordinal));
    }

    /// <summary>Returns the rank of the module's factors, or null if rank_pattern cannot be read.</summary>
    public int? Rank(string module) => _ranks.TryFind(Key(module), out int? rank) ? rank ?? config.Rank : null;

    /// <summary>
    /// Returns the scaling s of a module with the given rank, or null if alpha_pattern cannot be read.
    /// </summary>
    public double? Scaling(string module, long rank) =>
        Alpha(module) is { } alpha ? Scaling(alpha, rank, config.UseRsLora) : null;

    /// <summary>Computes the scaling s.</summary>
    public static double Scaling(double alpha, long rank, bool useRsLora) => alpha / (useRsLora ? Math.Sqrt(rank) : rank);

    /// <summary>Returns the alpha of a module, or null if alpha_pattern cannot be read.</summary>
    public double? Alpha(string module) => _alphas.TryFind(Key(module), out double? alpha) ? alpha ?? config.LoraAlpha : null;

    /// <summary>Returns the module's name in the base model, which PEFT's patterns are matched against.</summary>
    public static string Key(string module) =>
        (module.StartsWith(Prefix, StringComparison.Ordinal) ? module[Prefix.Length..] : module)
        .Replace(Wrapper, "", StringComparison.Ordinal);
}
