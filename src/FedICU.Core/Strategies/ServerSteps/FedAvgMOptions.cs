using FedICU.Strategies.Abstractions;

namespace FedICU;

/// <summary>Options of FedAvgM.</summary>
public sealed record FedAvgMOptions
{
    /// <summary>Gets the momentum beta, in [0, 1) (<c>momentum</c>). <value>Default: 0.9.</value></summary>
    public double Momentum { get; init; } = 0.9;

    /// <summary>
    /// Gets the server's learning rate eta, greater than 0 (<c>server-lr</c>). <value>Default: 1.</value>
    /// </summary>
    public double ServerLearningRate { get; init; } = 1;

    /// <summary>
    /// Gets whether the step is D + beta m in place of m (<c>nesterov</c>). <value>Default: false.</value>
    /// </summary>
    public bool Nesterov { get; init; }

    /// <summary>
    /// Gets how an update is added to the momentum (<c>momentum-form</c>). <value>Default:
    /// <see cref="MomentumForm.Sum"/>.</value>
    /// </summary>
    public MomentumForm Form { get; init; }

    internal void Validate() =>
        new OptionErrors().RequireDecay("momentum", Momentum).RequirePositive("server-lr", ServerLearningRate).Throw();
}
