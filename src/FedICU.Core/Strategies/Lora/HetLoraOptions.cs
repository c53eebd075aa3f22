using FedICU.Strategies.Abstractions;

namespace FedICU;

/// <summary>Options of HetLoRA.</summary>
public sealed record HetLoraOptions
{
    /// <summary>Gets how clients weigh (<c>norm-weights</c>). <value>Default: by norms.</value></summary>
    public HetLoraWeights Weights { get; init; }

    /// <summary>
    /// Gets whether norms are of a pair or of all pairs together (<c>granularity</c>). <value>Default: of a
    /// pair.</value>
    /// </summary>
    public Granularity Granularity { get; init; }

    /// <summary>
    /// Gets the scaling s of adapters without a configuration (<c>lora-scaling</c>). <value>Default: null; such
    /// adapters are then refused.</value>
    /// </summary>
    public double? LoraScaling { get; init; }

    internal static HetLoraOptions Checked(HetLoraOptions? options)
    {
        options ??= new HetLoraOptions();
        new OptionErrors().RequireScaling(options.LoraScaling).Throw();
        return options;
    }
}
