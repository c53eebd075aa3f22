using FedICU.Strategies.Abstractions;

namespace FedICU;

/// <summary>Options of FedYogi.</summary>
public sealed record FedYogiOptions
{
    /// <summary>
    /// Gets the server's learning rate eta, greater than 0 (<c>server-lr</c>). <value>Default: 0.01.</value>
    /// </summary>
    public double ServerLearningRate { get; init; } = 0.01;

    /// <summary>Gets the decay of the first moment, in [0, 1) (<c>beta1</c>). <value>Default: 0.9.</value></summary>
    public double Beta1 { get; init; } = 0.9;

    /// <summary>Gets the decay of the second moment, in [0, 1) (<c>beta2</c>). <value>Default: 0.99.</value></summary>
    public double Beta2 { get; init; } = 0.99;

    /// <summary>
    /// Gets tau, which is added to the root of the second moment, greater than 0 (<c>tau</c>). <value>Default:
    /// 0.001.</value>
    /// </summary>
    public double Tau { get; init; } = 1e-3;

    /// <summary>
    /// Gets the second moment before the first round, at least 0 (<c>v-init</c>). <value>Default: null (<c>tau2</c>),
    /// tau^2.</value>
    /// </summary>
    public double? InitialSecondMoment { get; init; }

    /// <summary>
    /// Gets the correction of the moments' bias (<c>bias-correction</c>). <value>Default:
    /// <see cref="BiasCorrection.None"/>.</value>
    /// </summary>
    public BiasCorrection BiasCorrection { get; init; }

    internal void Validate() => new OptionErrors()
        .RequirePositive("server-lr", ServerLearningRate).RequireDecay("beta1", Beta1).RequireDecay("beta2", Beta2)
        .RequirePositive("tau", Tau)
        .Require(
            "v-init", InitialSecondMoment ?? 0, InitialSecondMoment is null or (>= 0 and < double.PositiveInfinity),
            "a finite number of at least 0, or tau2,")
        .Throw();
}
