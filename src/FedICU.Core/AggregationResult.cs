namespace FedICU;

/// <summary>The result of a finished round.</summary>
/// <param name="Report">The clients' weights, the clients that were left out, and what happened to each tensor.</param>
public sealed record AggregationResult(RoundReport Report)
{
    /// <summary>
    /// Gets the configuration of the new adapter: that of the round's adapters, with the ranks and scalings that the
    /// rule wrote. Null if they have none. A folder as output holds it already.
    /// </summary>
    public PeftAdapterConfig? AdapterConfig { get; init; }
}
