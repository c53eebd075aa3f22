using FedICU.Strategies.Abstractions;
using FedICU.Strategies.Merging;

namespace FedICU;

/// <summary>Options of TIES.</summary>
public sealed record TiesOptions
{
    /// <summary>
    /// Gets the share of each client's entries that stay, in (0, 1] (<c>density</c>). <value>Default: 0.2.</value>
    /// </summary>
    public double Density { get; init; } = 0.2;

    /// <summary>
    /// Gets whether the largest entries are those of each tensor or of the model (<c>trim-scope</c>). <value>Default:
    /// <see cref="TrimScope.Tensor"/>.</value>
    /// </summary>
    public TrimScope TrimScope { get; init; }

    /// <summary>
    /// Gets what decides the sign (<c>elect</c>). <value>Default: <see cref="ElectRule.Sum"/>.</value>
    /// </summary>
    public ElectRule Elect { get; init; }

    /// <summary>
    /// Gets whether the clients' weights count in the sum that decides the sign (<c>elect-weights</c>). <value>Default:
    /// true.</value>
    /// </summary>
    public bool ElectWeights { get; init; } = true;

    /// <summary>
    /// Gets what the sum of the agreeing entries is divided by (<c>disjoint</c>). <value>Default:
    /// <see cref="DisjointRule.Mean"/>.</value>
    /// </summary>
    public DisjointRule Disjoint { get; init; }

    /// <summary>
    /// Gets lambda, the factor of the merged update, finite (<c>scale</c>). <value>Default: 1.</value>
    /// </summary>
    public double Scale { get; init; } = 1;

    /// <summary>
    /// Gets how the clients weigh (<c>weighting</c>). <value>Default: <see cref="MergeWeighting.Share"/>.</value>
    /// </summary>
    public MergeWeighting Weighting { get; init; }

    internal void Validate() => new OptionErrors().RequireDensity(Density).RequireScale(Scale).Throw();
}
