using FedICU;

namespace MyFederation;

/// <summary>Limits the norm of each client's update: f_k = min(1, limit / ||d_k||).</summary>
/// <param name="limit">The largest norm of an update, greater than 0.</param>
/// <param name="norms">The statistic with each client's squared norm; null: of the whole model.</param>
public sealed class NormLimit(double limit, RoundStatistic? norms = null) : ClientWeighting
{
    private readonly RoundStatistic _norms = norms ?? RoundStatistic.SquaredNorms;

    private readonly double _limit = limit > 0 && double.IsFinite(limit)
        ? limit
        : throw new InvalidOptionsException([$"limit is {limit}; a finite number above 0 was expected."]);

    // the name in reports, in state files and on the command line
    public override string Name => "norm-limit";

    // measured in one pass over all clients, before Weigh is called
    public override IReadOnlyList<RoundStatistic> Statistics => [_norms];

    // called once a round, and again if a policy drops a client and the round starts over
    public override void Weigh(RoundPlan plan, ClientWeights weights)
    {
        ReadOnlySpan<double> squares = plan[_norms];
        for (int k = 0; k < squares.Length; k++)
            weights.Factors[k] *= Math.Min(1, _limit / Math.Sqrt(squares[k]));
        plan.Report(this, "factor", weights.Factors);
    }
}
