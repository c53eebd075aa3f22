using FedICU.Strategies.Abstractions;
using FedICU.Strategies.Merging;

namespace FedICU;

/// <summary>Options of Breadcrumbs.</summary>
public sealed record BreadcrumbsOptions
{
    /// <summary>
    /// Gets the share of each tensor's entries that stay, in (0, 1] (<c>density</c>). <value>Default: 0.9.</value>
    /// </summary>
    public double Density { get; init; } = 0.9;

    /// <summary>
    /// Gets the share of each tensor's entries that are dropped as the largest, in [0, 1) (<c>gamma</c>).
    /// <value>Default: 0.01.</value>
    /// </summary>
    public double Gamma { get; init; } = 0.01;

    /// <summary>
    /// Gets lambda, the factor of the merged update, finite (<c>scale</c>). <value>Default: 1.</value>
    /// </summary>
    public double Scale { get; init; } = 1;

    /// <summary>
    /// Gets how the clients weigh (<c>weighting</c>). <value>Default: <see cref="MergeWeighting.Share"/>.</value>
    /// </summary>
    public MergeWeighting Weighting { get; init; }

    internal void Validate() => new OptionErrors().RequireDensity(Density).RequireDecay("gamma", Gamma).RequireScale(Scale).Throw();
}
