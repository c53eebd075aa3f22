using FedICU.Compute;
using FedICU.Strategies.ServerSteps;

namespace FedICU;

/// <summary>
/// FedAdam's step of the server: m = beta1 m + (1 - beta1) D, v = beta2 v + (1 - beta2) D^2, x = x + eta m / (sqrt(v) +
/// tau). D is the merged update.
/// </summary>
/// <remarks>
/// Reddi, Charles, Zaheer, Garrett, Rush, Konečný, Kumar, McMahan: "Adaptive Federated Optimization", ICLR 2021.
/// </remarks>
public sealed class FedAdam : ServerStep
{
    private readonly StateSlot[] _state;

    /// <summary>Creates the step.</summary>
    /// <param name="options">The options; null for the defaults.</param>
    /// <exception cref="InvalidOptionsException">
    /// The options break their rules; the message lists all errors.
    /// </exception>
    public FedAdam(FedAdamOptions? options = null)
    {
        Options = options ?? new FedAdamOptions();
        Options.Validate();
        _state = [new StateSlot("m"), new StateSlot("v", Options.InitialSecondMoment ?? Options.Tau * Options.Tau)];
    }

    /// <summary>Gets the options.</summary>
    public FedAdamOptions Options { get; }

    /// <inheritdoc/>
    public override string Name => "fedadam";

    /// <inheritdoc/>
    public override IReadOnlyList<StateSlot> State => _state;

    /// <inheritdoc/>
    public override void Apply(ElementBlock block) => AdaptiveSteps.Apply(CreateStep(block.Plan), block);

    internal override AdaptiveStep? GetAdaptiveStep(RoundPlan plan) => CreateStep(plan);

    private AdaptiveStep CreateStep(RoundPlan plan)
    {
        (double rate, double scale) = Correct(plan.RoundsFinished + 1);
        return new AdaptiveStep(Options.Beta1, Options.Beta2, SecondMomentRule.Adam, rate, scale, Options.Tau);
    }

    /// <summary>Computes the learning rate of a round, and the factor of the second moment.</summary>
    /// <param name="round">T, from 1.</param>
    private (double Rate, double ScaleOfV) Correct(double round)
    {
        double t = Options.BiasCorrection == BiasCorrection.Flower ? round + 1 : round;
        double first = 1 - Math.Pow(Options.Beta1, t), second = 1 - Math.Pow(Options.Beta2, t);
        return Options.BiasCorrection switch
        {
            BiasCorrection.None => (Options.ServerLearningRate, 1),
            BiasCorrection.Torch => (Options.ServerLearningRate / first, 1 / second),
            _ => (Options.ServerLearningRate * Math.Sqrt(second) / first, 1),
        };
    }
}
