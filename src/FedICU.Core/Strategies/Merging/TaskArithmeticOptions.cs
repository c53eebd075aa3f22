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

    internal void Validate() => new OptionErrors().RequireScale(Scale).Throw();
}
