using FedICU.Strategies.Abstractions;

namespace FedICU;

/// <summary>Options of FLoRA.</summary>
public sealed record FLoraOptions
{
    /// <summary>
    /// Gets the scaling s of adapters without a configuration (<c>lora-scaling</c>). <value>Default: null; such
    /// adapters are then refused.</value>
    /// </summary>
    public double? LoraScaling { get; init; }

    /// <summary>
    /// Gets how the clients weigh (<c>weighting</c>), in an aggregator. <value>Default: share.</value>
    /// </summary>
    public Weighting Weighting { get; init; }

    internal static FLoraOptions Checked(FLoraOptions? options)
    {
        options ??= new FLoraOptions();
        new OptionErrors().RequireScaling(options.LoraScaling).Throw();
        return options;
    }
}
