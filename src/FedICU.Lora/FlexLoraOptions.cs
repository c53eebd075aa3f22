using FedICU.Strategies.Abstractions;

namespace FedICU;

/// <summary>Options of FlexLoRA.</summary>
public sealed record FlexLoraOptions
{
    /// <summary>
    /// Gets the rank that is written, at least 1 (<c>rank</c>). <value>Default: null, the global model's.</value>
    /// </summary>
    public int? Rank { get; init; }

    /// <summary>Gets how the singular values are divided between the factors (<c>split</c>).</summary>
    public FactorSplit Split { get; init; }

    /// <summary>
    /// Gets how the clients weigh (<c>weighting</c>), in an aggregator. <value>Default: share.</value>
    /// </summary>
    public Weighting Weighting { get; init; }

    /// <summary>
    /// Gets the scaling s of adapters without a configuration (<c>lora-scaling</c>). <value>Default: null; such
    /// adapters are then refused.</value>
    /// </summary>
    public double? LoraScaling { get; init; }

    internal static FlexLoraOptions Checked(FlexLoraOptions? options)
    {
        options ??= new FlexLoraOptions();
        new OptionErrors().Require("rank", options.Rank ?? 1, options.Rank is null or >= 1, "a whole number of at least 1")
            .RequireScaling(options.LoraScaling).Throw();
        return options;
    }
}
