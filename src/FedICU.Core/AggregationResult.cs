namespace FedICU;

/// <summary>What a finished round says of itself.</summary>
/// <param name="Report">Who weighed what, who was left out and why.</param>
public sealed record AggregationResult(RoundReport Report);
