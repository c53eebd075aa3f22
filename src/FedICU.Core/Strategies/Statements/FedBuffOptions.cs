using FedICU.Strategies.Abstractions;

namespace FedICU;

/// <summary>Options of FedBuff.</summary>
public sealed record FedBuffOptions
{
    /// <summary>
    /// Gets the server's learning rate eta, greater than 0 (<c>server-lr</c>). <value>Default: 1.</value>
    /// </summary>
    public double ServerLearningRate { get; init; } = 1;

    /// <summary>
    /// Gets how much a late update counts (<c>staleness</c>). <value>Default:
    /// <see cref="StalenessRule.Polynomial"/>.</value>
    /// </summary>
    public StalenessRule Staleness { get; init; }

    /// <summary>Gets a, at least 0 (<c>staleness-a</c>). <value>Default: 0.5.</value></summary>
    public double A { get; init; } = 0.5;

    /// <summary>Gets b of the hinge, at least 0 (<c>staleness-b</c>). <value>Default: 4.</value></summary>
    public double B { get; init; } = 4;

    /// <summary>
    /// Gets what the sum is divided by (<c>normalize</c>). <value>Default:
    /// <see cref="FedBuffNormalization.Count"/>.</value>
    /// </summary>
    public FedBuffNormalization Normalization { get; init; }

    /// <summary>
    /// Gets how the clients weigh (<c>weighting</c>). <value>Default: <see cref="Weighting.Uniform"/>.</value>
    /// </summary>
    public Weighting Weighting { get; init; } = Weighting.Uniform;

    internal void Validate() => new OptionErrors()
        .RequirePositive("server-lr", ServerLearningRate).RequireNotNegative("staleness-a", A).RequireNotNegative("staleness-b", B)
        .Throw();
}
