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
    /// <summary>Creates the step.</summary>
    /// <param name="options">The options; null for the defaults.</param>
    /// <exception cref="InvalidOptionsException">
    /// The options break their rules; the message lists all errors.
    /// </exception>
    public FedAdam(FedAdamOptions? options = null)
    {
        Options = options ?? new FedAdamOptions();
        Options.Validate();
        State = AdaptiveSteps.CreateState(Options.Tau, Options.InitialSecondMoment);
    }

    /// <summary>Gets the options.</summary>
    public FedAdamOptions Options { get; }

    /// <inheritdoc/>
    public override string Name => "fedadam";

    /// <inheritdoc/>
    public override IReadOnlyList<StateSlot> State { get; }

    /// <inheritdoc/>
    public override void Check(RoundPlan plan)
    {
        ArgumentNullException.ThrowIfNull(plan);
        AdaptiveSteps.RequireFinite(Name, CreateStep(plan));
    }

    /// <inheritdoc/>
    public override void Apply(ElementBlock block) => AdaptiveSteps.Apply(CreateStep(block.Plan), block);

    internal override AdaptiveStep? GetAdaptiveStep(RoundPlan plan) => CreateStep(plan);

    private AdaptiveStep CreateStep(RoundPlan plan)
    {
        (double rate, double scale) = AdaptiveSteps.CorrectBias(
            Options.BiasCorrection, Options.ServerLearningRate, Options.Beta1, Options.Beta2, plan.RoundsFinished);
        return new AdaptiveStep(Options.Beta1, Options.Beta2, SecondMomentRule.Adam, rate, scale, Options.Tau);
    }
}
