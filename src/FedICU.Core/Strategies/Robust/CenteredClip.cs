using FedICU.Compute;
using FedICU.Strategies.Robust;

namespace FedICU;

/// <summary>
/// Centered clipping's weighting: v = v + sum_k w_k (d_k - v) min(1, r / ||d_k - v||), from the v of the round before.
/// <see cref="CenteredClipStep"/> follows it, adds v and keeps it.
/// </summary>
/// <remarks>
/// Karimireddy, He, Jaggi: "Learning from History for Byzantine Robust Optimization", ICML 2021. v is always a mean of
/// the old v and the updates, so that its distances follow from those of the pairs. No iteration reads the data.
/// </remarks>
public sealed class CenteredClip : ClientWeighting
{
    internal const string Slot = "center", Rest = "centered-clip.rest";

    // The iterations whose distances and factors are reported: chosen, a report of all would grow without bound.
    private const int MostReported = 10;

    private static readonly CenterDistances Distances = new();

    /// <summary>Creates the weighting.</summary>
    /// <param name="options">The options; null for the defaults.</param>
    /// <exception cref="InvalidOptionsException">The options break their rules.</exception>
    public CenteredClip(CenteredClipOptions? options = null)
    {
        Options = options ?? new CenteredClipOptions();
        Options.Validate();
    }

    /// <summary>Gets the options.</summary>
    public CenteredClipOptions Options { get; }

    /// <inheritdoc/>
    public override string Name => "centered-clip";

    /// <inheritdoc/>
    public override IReadOnlyList<RoundStatistic> Statistics => [Distances];

    /// <inheritdoc/>
    public override void Weigh(RoundPlan plan, ClientWeights weights)
    {
        ArgumentNullException.ThrowIfNull(plan);
        ArgumentNullException.ThrowIfNull(weights);
        int clients = plan.Clients.Count;
        double[] shares = weights.Weigh(Options.Weighting);
        // the coefficients of the updates and, last, of the old center
        double[] center = new double[clients + 1];
        center[clients] = 1;
        var standstill = new StandstillCheck(center);
        for (int i = 1; i <= Options.Iterations; i++)
        {
            double[] distances = MeanDistances.Measure(center, (j, k) => SquaredDistance(plan, j, k));
            double[] factors = [.. distances.Take(clients).Select(distance => UpdateNorms.Clip(distance, Options.Radius))];
            double rest = 1;
            for (int k = 0; k < clients; k++)
                rest -= shares[k] * factors[k];
            double[] next = [.. center.Select((old, k) => old * rest + (k < clients ? shares[k] * factors[k] : 0))];
            if (i <= MostReported)
            {
                plan.Report(this, Options.Iterations == 1 ? "distance" : $"distance {i}", distances.AsSpan(0, clients));
                plan.Report(this, Options.Iterations == 1 ? "factor" : $"factor {i}", factors);
            }

            center = next;
            // the report shows every iteration that was asked for, up to its limit
            if (standstill.Repeats(center) && i >= MostReported)
                break;
        }

        // the merge divides by the sum of the weights: ones, so that the factors alone decide
        for (int k = 0; k < clients; k++)
            (weights.Weights[k], weights.Factors[k]) = (1, weights.Factors[k] * center[k] * clients);
        plan.Keep(Rest, center[clients]);
    }

    private static double SquaredDistance(RoundPlan plan, int j, int k) =>
        j == k ? 0 : plan[Distances][(int)GramPairs.Index(Math.Min(j, k), Math.Max(j, k) - 1)];
}
