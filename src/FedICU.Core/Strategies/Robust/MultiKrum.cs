using FedICU.Strategies.Robust;
using FedICU.Text;

namespace FedICU;

/// <summary>
/// Multi-Krum's weighting: the m clients of the lowest Krum scores stay (<see cref="Krum"/>).
/// </summary>
/// <remarks>
/// Blanchard, El Mhamdi, Guerraoui, Stainer: "Machine Learning with Adversaries: Byzantine Tolerant Gradient Descent",
/// NeurIPS 2017. Equal scores: the client whose id comes first.
/// </remarks>
public sealed class MultiKrum : ClientWeighting
{
    /// <summary>Creates the weighting.</summary>
    /// <param name="options">The options; null for the defaults.</param>
    /// <exception cref="InvalidOptionsException">The options break their rules.</exception>
    public MultiKrum(MultiKrumOptions? options = null)
    {
        Options = options ?? new MultiKrumOptions();
        Options.Validate();
    }

    /// <summary>Gets the options.</summary>
    public MultiKrumOptions Options { get; }

    /// <inheritdoc/>
    public override string Name => "multi-krum";

    /// <inheritdoc/>
    public override IReadOnlyList<RoundStatistic> Statistics => [RoundStatistic.PairDistances];

    /// <inheritdoc/>
    public override void Check(RoundPlan plan)
    {
        ArgumentNullException.ThrowIfNull(plan);
        KrumScores.Check(plan, Name, Options.Byzantine);
        if (Options.Select > plan.Clients.Count)
        {
            throw RoundPlan.Refuse(
                $"{Sentence.Quote(Name)} selects {Options.Select} of {Sentence.Count(plan.Clients.Count, "client")}; " +
                "at most all of them can be selected.");
        }
    }

    /// <inheritdoc/>
    public override void Weigh(RoundPlan plan, ClientWeights weights)
    {
        ArgumentNullException.ThrowIfNull(plan);
        ArgumentNullException.ThrowIfNull(weights);
        int byzantine = KrumScores.GetByzantine(plan, Options.Byzantine), proven = Math.Max(1, plan.Clients.Count - byzantine - 2);
        double[] scores = KrumScores.Compute(plan, byzantine);
        int select = Options.Select ?? proven;
        if (select > proven)
            plan.Note($"multi-krum selects {select} clients; its proof (El Mhamdi et al. 2019) ends at {proven}.");
        plan.Report(this, "score", scores);
        weights.Weigh(Options.Weighting);
        weights.Choose([.. Enumerable.Range(0, scores.Length).OrderBy(k => scores[k]).Take(select)]);
    }
}
