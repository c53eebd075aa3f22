using FedICU;

namespace MyFederation;

/// <summary>
/// A weighted mean in which late updates count less: w_k = n_k / (1 + a_k). Client k is a_k rounds behind.
/// </summary>
public sealed class StalenessAggregator(Func<string, int> roundsBehind) : StageAggregator(new Staleness(roundsBehind));

/// <summary>The weighting, which goes before any merge.</summary>
public sealed class Staleness(Func<string, int> roundsBehind) : ClientWeighting
{
    public override string Name => "staleness";

    // called once a round, and again if a policy drops a client and the round starts over
    public override void Weigh(RoundPlan plan, ClientWeights weights)
    {
        for (int k = 0; k < plan.Clients.Count; k++)
            weights.Weights[k] = plan.Clients[k].Weight / (1 + roundsBehind(plan.Clients[k].Id));
    }
}
