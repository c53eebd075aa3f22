using FedICU.Strategies.Abstractions;

namespace FedICU;

/// <summary>Options of the trimmed mean.</summary>
public sealed record TrimmedMeanOptions
{
    /// <summary>
    /// Gets beta, the share of the clients whose values are dropped at each end, in [0, 0.5) (<c>beta</c>): g =
    /// floor(beta N + 1e-9). <value>Default: 0.2.</value>
    /// </summary>
    public double Beta { get; init; } = 0.2;

    /// <summary>
    /// Gets g itself, at least 0 (<c>trim-count</c>). <value>Default: null, from <see cref="Beta"/>.</value>
    /// </summary>
    public int? TrimCount { get; init; }

    internal void Validate() => new OptionErrors()
        .Require("beta", Beta, Beta is >= 0 and < 0.5, "a number of at least 0 and below 0.5")
        .Add(TrimCount < 0 ? $"trim-count is {TrimCount}; a whole number of at least 0 was expected." : null).Throw();
}
