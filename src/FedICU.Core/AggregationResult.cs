namespace FedICU;

/// <summary>The result of a finished round.</summary>
/// <param name="Report">The clients' weights, the clients that were left out, and what happened to each tensor.</param>
public sealed record AggregationResult(RoundReport Report);
