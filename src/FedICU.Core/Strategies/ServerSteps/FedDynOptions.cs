using FedICU.Strategies.Abstractions;

namespace FedICU;

/// <summary>Options of FedDyn.</summary>
public sealed record FedDynOptions
{
    /// <summary>
    /// Gets M, the number of all clients, at least those of the round (<c>population</c>). <value>Default: null
    /// (<c>auto</c>), those of the round.</value>
    /// </summary>
    public long? Population { get; init; }

    /// <summary>
    /// Gets how the clients weigh (<c>weighting</c>). <value>Default: <see cref="Weighting.Uniform"/>.</value>
    /// </summary>
    public Weighting Weighting { get; init; } = Weighting.Uniform;

    internal void Validate() => new OptionErrors().Add(Strategies.ServerSteps.Population.Describe(Population)).Throw();
}
