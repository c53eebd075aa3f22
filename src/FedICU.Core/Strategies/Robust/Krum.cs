using FedICU.Strategies.Robust;
using FedICU.Text;

namespace FedICU;

/// <summary>
/// Krum's weighting: chooses the one client whose N - f - 2 nearest other clients are nearest, by the sum of the
/// squared distances of whole models. The next model is that client's own.
/// </summary>
/// <remarks>
/// Blanchard, El Mhamdi, Guerraoui, Stainer: "Machine Learning with Adversaries: Byzantine Tolerant Gradient Descent",
/// NeurIPS 2017. Equal scores: the client whose id comes first.
/// </remarks>
public sealed class Krum : ClientWeighting
{
    /// <summary>Creates the weighting.</summary>
    /// <param name="options">The options; null for the defaults.</param>
    /// <exception cref="InvalidOptionsException">The options break their rules.</exception>
    public Krum(KrumOptions? options = null)
    {
        Options = options ?? new KrumOptions();
        Options.Validate();
    }

    /// <summary>Gets the options.</summary>
    public KrumOptions Options { get; }

    /// <inheritdoc/>
    public override string Name => "krum";

    /// <inheritdoc/>
    public override IReadOnlyList<RoundStatistic> Statistics => [RoundStatistic.PairDistances];

    /// <inheritdoc/>
    public override void Check(RoundPlan plan)
    {
        ArgumentNullException.ThrowIfNull(plan);
        KrumScores.Check(plan, Name, Options.Byzantine);
    }

    /// <inheritdoc/>
    public override void Weigh(RoundPlan plan, ClientWeights weights)
    {
        ArgumentNullException.ThrowIfNull(plan);
        ArgumentNullException.ThrowIfNull(weights);
        int byzantine = KrumScores.GetByzantine(plan, Options.Byzantine);
        double[] scores = KrumScores.Compute(plan, byzantine);
        plan.Note($"krum bears {Sentence.Count(byzantine, "hostile client")} of {plan.Clients.Count}.");
        plan.Report(this, "score", scores);
        int chosen = Array.IndexOf(scores, scores.Min());
        weights.Choose(chosen);
        // the client itself, whatever its number of examples
        weights.Weights[chosen] = 1;
    }
}
