using FedICU.Strategies.Abstractions;

namespace FedICU;

/// <summary>Options of FedEx-LoRA.</summary>
public sealed record FedExLoraOptions
{
    /// <summary>
    /// Gets the path of the base model, to which the residual is added (<c>base</c>); needs <see cref="BaseOutput"/>.
    /// <value>Default: null, no base model is written.</value>
    /// </summary>
    public string? Base { get; init; }

    /// <summary>Gets where the new base model is written, in its own types (<c>base-output</c>).</summary>
    public string? BaseOutput { get; init; }

    /// <summary>
    /// Gets where the residual is written as an adapter of the scaling 1 (<c>residual-output</c>): a folder, or a
    /// .safetensors file. Its rank is the sum of the clients' ranks.
    /// </summary>
    public string? ResidualOutput { get; init; }

    /// <summary>
    /// Gets how the clients weigh (<c>weighting</c>), in an aggregator. <value>Default: share.</value>
    /// </summary>
    public Weighting Weighting { get; init; }

    /// <summary>
    /// Gets the scaling s of adapters without a configuration (<c>lora-scaling</c>). <value>Default: null; such
    /// adapters are then refused where a base or a residual is written.</value>
    /// </summary>
    public double? LoraScaling { get; init; }

    internal static FedExLoraOptions Checked(FedExLoraOptions? options)
    {
        options ??= new FedExLoraOptions();
        new OptionErrors()
            .Add(options.Base is not null && options.BaseOutput is null ? "base was given without base-output; both were expected." : null)
            .Add(options.Base is null && options.BaseOutput is not null ? "base-output was given without base; both were expected." : null)
            .RequireScaling(options.LoraScaling).Throw();
        return options;
    }
}
