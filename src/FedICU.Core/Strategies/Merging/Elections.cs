using FedICU.Compute;

namespace FedICU.Strategies.Merging;

/// <summary>Turns the options of rules that elect signs into what the backend computes.</summary>
internal static class Elections
{
    public static SignElection Create(ElectRule elect, bool electWeights, DisjointRule disjoint, double scale) => new(
        elect == ElectRule.Count ? ElectedSum.Count : electWeights ? ElectedSum.Weighted : ElectedSum.Plain,
        disjoint switch
        {
            DisjointRule.Mean => ElectionDivisor.Weights,
            DisjointRule.Count => ElectionDivisor.Count,
            _ => ElectionDivisor.None,
        },
        scale);
}
