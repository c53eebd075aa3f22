namespace FedICU.Strategies.ServerSteps;

/// <summary>The part of a server's rule that sets how clients weigh in the merge before it.</summary>
/// <param name="rule">The rule's name.</param>
/// <param name="weighting">How the clients weigh.</param>
internal sealed class MeanWeights(string rule, Weighting weighting) : ClientWeighting
{
    public override string Name => rule + ".weights";

    internal override bool IsPart => true;

    internal override string RuleName => rule;

    public override void Weigh(RoundPlan plan, ClientWeights weights) => weights.Weigh(weighting);
}
