using FedICU.Strategies.Abstractions;

namespace FedICU;

/// <summary>Options of q-FedAvg.</summary>
public sealed record QFedAvgOptions
{
    /// <summary>
    /// Gets q, at least 0: the larger, the more clients of a large loss count; 0 is the plain mean (<c>q</c>).
    /// <value>Default: 0.1.</value>
    /// </summary>
    public double Q { get; init; } = 0.1;

    /// <summary>
    /// Gets the clients' learning rate, greater than 0 (<c>local-lr</c>). <value>Default: 0.1.</value>
    /// </summary>
    public double LocalLearningRate { get; init; } = 0.1;

    /// <summary>
    /// Gets what is added to every loss, at least 0 (<c>loss-eps</c>). <value>Default: 1e-10.</value>
    /// </summary>
    public double LossEpsilon { get; init; } = 1e-10;

    /// <summary>
    /// Gets how the clients weigh (<c>weighting</c>). <value>Default: <see cref="Weighting.Uniform"/>.</value>
    /// </summary>
    public Weighting Weighting { get; init; } = Weighting.Uniform;

    internal void Validate() => new OptionErrors()
        .RequireNotNegative("q", Q).RequirePositive("local-lr", LocalLearningRate).RequireNotNegative("loss-eps", LossEpsilon)
        .Throw();
}
