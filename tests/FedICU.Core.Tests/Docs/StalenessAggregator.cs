using FedICU;

namespace MyFederation;

/// <summary>
/// A weighted mean in which late updates count less: w_k = n_k / (1 + a_k). Client k is a_k rounds behind.
/// </summary>
public sealed class StalenessAggregator(Func<string, int> roundsBehind) : TensorAggregator
{
    public override string Name => "staleness";

    // called once a round, and again if a policy drops a client and the round starts over
    protected override ITensorRule Begin(ModelContext model) =>
        new Rule([.. model.Clients.Select(client => client.Weight / (1 + roundsBehind(client.Id)))]);

    private sealed class Rule(double[] weights) : ITensorRule
    {
        private readonly double _sum = weights.Sum();

        public void Aggregate(TensorContext tensor)
        {
            for (int k = 0; k < weights.Length; k++)
                tensor.ReportWeight(k, weights[k] / _sum);
            tensor.WeightedSum(weights, divisor: _sum);
        }
    }
}
