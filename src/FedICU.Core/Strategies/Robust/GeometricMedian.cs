using FedICU.Strategies.Robust;

namespace FedICU;

/// <summary>
/// The geometric median's weighting (RFA): the clients weigh so that their mean z comes near the point of the least sum
/// of distances, sum_k w_k ||z - d_k||, by a smoothed Weiszfeld iteration.
/// </summary>
/// <remarks>
/// Pillutla, Kakade, Harchaoui: "Robust Aggregation for Federated Learning", IEEE Transactions on Signal Processing
/// 2022. z is always a mean of the updates, so that its distances follow from those of the pairs. No iteration reads
/// the data.
/// </remarks>
public sealed class GeometricMedian : ClientWeighting
{
    /// <summary>Creates the weighting.</summary>
    /// <param name="options">The options; null for the defaults.</param>
    /// <exception cref="InvalidOptionsException">The options break their rules.</exception>
    public GeometricMedian(GeometricMedianOptions? options = null)
    {
        Options = options ?? new GeometricMedianOptions();
        Options.Validate();
    }

    /// <summary>Gets the options.</summary>
    public GeometricMedianOptions Options { get; }

    /// <inheritdoc/>
    public override string Name => "geometric-median";

    /// <inheritdoc/>
    public override IReadOnlyList<RoundStatistic> Statistics => [RoundStatistic.PairDistances];

    /// <inheritdoc/>
    public override void Weigh(RoundPlan plan, ClientWeights weights)
    {
        ArgumentNullException.ThrowIfNull(plan);
        ArgumentNullException.ThrowIfNull(weights);
        double[] shares = weights.Weigh(Options.Weighting), mean = shares;
        double[] distances = MeanDistances.Measure(mean, plan.SquaredDistance);
        double objective = Sum(shares, distances);
        var standstill = new StandstillCheck(mean);
        for (int i = 0; i < Options.Iterations; i++)
        {
            mean = [.. shares.Zip(distances, (share, distance) => share / Math.Max(Options.Nu, distance))];
            double total = mean.Sum();
            mean = [.. mean.Select(weight => weight / total)];
            distances = MeanDistances.Measure(mean, plan.SquaredDistance);
            double next = Sum(shares, distances);
            bool ends = Math.Abs(objective - next) < Options.Tolerance * next || standstill.Repeats(mean);
            objective = next;
            if (ends)
                break;
        }

        mean.CopyTo(weights.Weights);
        plan.Report(this, "distance", distances);
        plan.Report(this, "weight", mean);
    }

    private static double Sum(double[] weights, double[] distances)
    {
        double sum = 0;
        for (int k = 0; k < weights.Length; k++)
            sum += weights[k] * distances[k];
        return sum;
    }
}
