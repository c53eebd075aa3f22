using FedICU.Compute;
using FedICU.Strategies.ServerSteps;

namespace FedICU;

/// <summary>
/// FedAdagrad's step of the server: m = beta1 m + (1 - beta1) D, v = v + D^2, x = x + eta m / (sqrt(v) + tau). D is the
/// merged update.
/// </summary>
/// <remarks>
/// Reddi, Charles, Zaheer, Garrett, Rush, Konečný, Kumar, McMahan: "Adaptive Federated Optimization", ICLR 2021.
/// </remarks>
public sealed class FedAdagrad : ServerStep
{
    private readonly AdaptiveStep _step;

    /// <summary>Creates the step.</summary>
    /// <param name="options">The options; null for the defaults.</param>
    /// <exception cref="InvalidOptionsException">
    /// The options break their rules; the message lists all errors.
    /// </exception>
    public FedAdagrad(FedAdagradOptions? options = null)
    {
        Options = options ?? new FedAdagradOptions();
        Options.Validate();
        State = AdaptiveSteps.CreateState(Options.Tau, Options.InitialSecondMoment);
        _step = new AdaptiveStep(Options.Beta1, 0, SecondMomentRule.Adagrad, Options.ServerLearningRate, 1, Options.Tau);
    }

    /// <summary>Gets the options.</summary>
    public FedAdagradOptions Options { get; }

    /// <inheritdoc/>
    public override string Name => "fedadagrad";

    /// <inheritdoc/>
    public override IReadOnlyList<StateSlot> State { get; }

    /// <inheritdoc/>
    public override void Apply(ElementBlock block) => AdaptiveSteps.Apply(_step, block);

    internal override AdaptiveStep? GetAdaptiveStep(RoundPlan plan) => _step;
}
