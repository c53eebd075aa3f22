using FedICU.Strategies.Abstractions;
using FedICU.Strategies.Merging;

namespace FedICU;

/// <summary>Options of DARE.</summary>
public sealed record DareOptions
{
    /// <summary>
    /// Gets how likely an entry stays, in (0, 1] (<c>density</c>). <value>Default: 0.5.</value>
    /// </summary>
    public double Density { get; init; } = 0.5;

    /// <summary>
    /// Gets the seed of the masks (<c>seed</c>), which is required. <value>Default: null.</value>
    /// </summary>
    public long? Seed { get; init; }

    /// <summary>
    /// Gets how what is left is merged (<c>merge</c>). <value>Default: <see cref="DareMerge.Linear"/>.</value>
    /// </summary>
    public DareMerge Merge { get; init; }

    /// <summary>
    /// Gets how what is left is rescaled (<c>rescale</c>). <value>Default: <see cref="DareRescale.Density"/>.</value>
    /// </summary>
    public DareRescale Rescale { get; init; }

    /// <summary>
    /// Gets what decides the sign, if <see cref="Merge"/> is TIES' (<c>elect</c>). <value>Default:
    /// <see cref="ElectRule.Sum"/>.</value>
    /// </summary>
    public ElectRule Elect { get; init; }

    /// <summary>
    /// Gets whether the clients' weights count in the sum that decides the sign (<c>elect-weights</c>). <value>Default:
    /// true.</value>
    /// </summary>
    public bool ElectWeights { get; init; } = true;

    /// <summary>
    /// Gets what the sum of the agreeing entries is divided by, if <see cref="Merge"/> is TIES' (<c>disjoint</c>).
    /// <value>Default: <see cref="DisjointRule.Sum"/>.</value>
    /// </summary>
    public DisjointRule Disjoint { get; init; } = DisjointRule.Sum;

    /// <summary>
    /// Gets lambda, the factor of the merged update, finite (<c>scale</c>). <value>Default: 1.</value>
    /// </summary>
    public double Scale { get; init; } = 1;

    /// <summary>
    /// Gets how the clients weigh (<c>weighting</c>). <value>Default: <see cref="MergeWeighting.Share"/>.</value>
    /// </summary>
    public MergeWeighting Weighting { get; init; }

    internal void Validate() => new OptionErrors()
        .Add(Seed is null ? "seed is missing; a whole number was expected, from which 'dare' draws its masks." : null)
        .RequireDensity(Density).RequireScale(Scale).Throw();
}
