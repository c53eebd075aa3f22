using FedICU.Strategies.Abstractions;
using FedICU.Strategies.Merging;

namespace FedICU;

/// <summary>Options of task arithmetic.</summary>
public sealed record TaskArithmeticOptions
{
    /// <summary>
    /// Gets lambda, the factor of the merged update, finite (<c>scale</c>). <value>Default: 1.</value>
    /// </summary>
    public double Scale { get; init; } = 1;

    /// <summary>
    /// Gets how the clients weigh (<c>weighting</c>). <value>Default: <see cref="MergeWeighting.Share"/>.</value>
    /// </summary>
    public MergeWeighting Weighting { get; init; }

    /// <summary>
    /// Gets what is added up for LoRA pairs (<c>space</c>). <value>Default: <see cref="MergeSpace.Factors"/>.</value>
    /// </summary>
    public MergeSpace Space { get; init; }

    /// <summary>
    /// Gets the scaling s of adapters without a configuration (<c>lora-scaling</c>), for products. <value>Default:
    /// null; such adapters are then refused.</value>
    /// </summary>
    public double? LoraScaling { get; init; }

    internal void Validate(MergeSpace space) => new OptionErrors()
        .RequireScale(Scale).RequireScaling(LoraScaling)
        .Add(Space == space ? null : $"space is {Space}; {space} was expected: another stage merges the other space.")
        .RefuseUnused("lora-scaling", LoraScaling is not null && Space == MergeSpace.Factors, "without space=product")
        .Throw();
}
