using FedICU.Strategies.Abstractions;

namespace FedICU;

/// <summary>Options of FedNova.</summary>
public sealed record FedNovaOptions
{
    /// <summary>
    /// Gets the server's learning rate eta, greater than 0 (<c>server-lr</c>). <value>Default: 1.</value>
    /// </summary>
    public double ServerLearningRate { get; init; } = 1;

    /// <summary>
    /// Gets the momentum of the clients' local training, in [0, 1) (<c>local-momentum</c>). <value>Default: 0.</value>
    /// </summary>
    public double LocalMomentum { get; init; }

    /// <summary>
    /// Gets the clients' learning rate times the strength of their proximal term, in [0, 1) (<c>local-prox</c>). Not
    /// together with <see cref="LocalMomentum"/>. <value>Default: 0.</value>
    /// </summary>
    public double LocalProx { get; init; }

    /// <summary>
    /// Gets which number of steps the mean update is worth (<c>tau-eff</c>). <value>Default:
    /// <see cref="EffectiveSteps.Mean"/>.</value>
    /// </summary>
    public EffectiveSteps EffectiveSteps { get; init; }

    /// <summary>
    /// Gets that number itself, greater than 0 (<c>tau-eff</c>). <value>Default: null, by
    /// <see cref="EffectiveSteps"/>.</value>
    /// </summary>
    public double? GivenSteps { get; init; }

    /// <summary>
    /// Gets how the clients weigh (<c>weighting</c>). <value>Default: <see cref="Weighting.Share"/>.</value>
    /// </summary>
    public Weighting Weighting { get; init; }

    internal void Validate() => new OptionErrors()
        .RequirePositive("server-lr", ServerLearningRate).RequireDecay("local-momentum", LocalMomentum)
        .RequireDecay("local-prox", LocalProx)
        .Add(LocalMomentum != 0 && LocalProx != 0 ? "local-momentum and local-prox are both above 0; one of them was expected." : null)
        .Require("tau-eff", GivenSteps ?? 1, GivenSteps is null or (> 0 and < double.PositiveInfinity), "a finite number above 0")
        .Throw();
}
