using FedICU.Strategies.Robust;

namespace FedICU;

/// <summary>
/// Bulyan's weighting: theta = N - 2f times, the Krum winner among the clients that are left is chosen. The merge
/// <see cref="BulyanMean"/> follows it.
/// </summary>
/// <remarks>
/// El Mhamdi, Guerraoui, Rouault: "The Hidden Vulnerability of Distributed Learning in Byzantium", ICML 2018. Equal
/// scores: the client whose id comes first.
/// </remarks>
public sealed class Bulyan : ClientWeighting
{
    /// <summary>Creates the weighting.</summary>
    /// <param name="options">The options; null for the defaults.</param>
    /// <exception cref="InvalidOptionsException">The options break their rules.</exception>
    public Bulyan(BulyanOptions? options = null)
    {
        Options = options ?? new BulyanOptions();
        Options.Validate();
    }

    /// <summary>Gets the options.</summary>
    public BulyanOptions Options { get; }

    /// <inheritdoc/>
    public override string Name => "bulyan";

    /// <inheritdoc/>
    public override IReadOnlyList<RoundStatistic> Statistics => [RoundStatistic.PairDistances];

    /// <inheritdoc/>
    public override void Check(RoundPlan plan)
    {
        ArgumentNullException.ThrowIfNull(plan);
        ClientCounts.Require(plan, Name, Options.Byzantine, 4L * (Options.Byzantine ?? 0) + 3, "4 byzantine + 3");
    }

    /// <inheritdoc/>
    public override void Weigh(RoundPlan plan, ClientWeights weights)
    {
        ArgumentNullException.ThrowIfNull(plan);
        ArgumentNullException.ThrowIfNull(weights);
        int clients = plan.Clients.Count, byzantine = Options.GetByzantine(clients), count = clients - 2 * byzantine;
        int[] all = [.. Enumerable.Range(0, clients)];
        double[] scores = KrumScores.Compute(plan, all, byzantine);
        plan.Report(this, "score", scores);
        List<int> left = [.. all], chosen = [];
        while (chosen.Count < count)
        {
            int winner = left[Array.IndexOf(scores, scores.Min())];
            chosen.Add(winner);
            left.Remove(winner);
            scores = Options.Selection == BulyanSelectionRule.Iterative
                ? KrumScores.Compute(plan, left, byzantine)
                : [.. scores.Where((_, k) => k != Array.IndexOf(scores, scores.Min()))];
        }

        // a place among the chosen, from 1; 0 for the others
        plan.Report(this, "chosen", [.. all.Select(client => chosen.IndexOf(client) + 1.0)]);
        plan.Keep(BulyanMean.Kept, count - 2 * byzantine);
        weights.Weigh(Weighting.Uniform);
        weights.Choose([.. chosen]);
    }
}
