using FedICU;

namespace OwnStrategy;

/// <summary>
/// A weighting by the norms of the updates: n_k / (1 + (||d_k|| / (c s))^2), where s is the median norm. A client whose
/// update is many times longer than the others' counts little.
/// </summary>
public sealed class Cauchy : ClientWeighting
{
    private readonly double _c;

    public Cauchy(double c)
    {
        if (!(c > 0))
            throw new InvalidOptionsException([$"c is {c}; a number above 0 was expected."]);
        _c = c;
    }

    public override string Name => "cauchy";

    public override IReadOnlyList<RoundStatistic> Statistics => [RoundStatistic.SquaredNorms];

    public override void Weigh(RoundPlan plan, ClientWeights weights)
    {
        ReadOnlySpan<double> squares = plan[RoundStatistic.SquaredNorms];
        double[] sorted = [.. squares];
        Array.Sort(sorted);
        double scale = _c * _c * sorted[(sorted.Length - 1) / 2];
        double[] factors = new double[squares.Length];
        for (int k = 0; k < factors.Length; k++)
        {
            // where most clients changed nothing there is no scale, and all keep their weights
            factors[k] = scale > 0 ? 1 / (1 + squares[k] / scale) : 1;
            weights.Weights[k] *= factors[k];
        }

        plan.Report(this, "factor", factors);
    }
}
