namespace FedICU;

/// <summary>The result of a finished round.</summary>
/// <param name="Report">The clients' weights, the clients that were left out, and what happened to each tensor.</param>
public sealed record AggregationResult(RoundReport Report)
{
    /// <summary>
    /// Gets the configuration of the new adapter if the rule changed ranks or scalings; null if the global model's
    /// stays, or if there is none. An adapter folder holds it already.
    /// </summary>
    public PeftAdapterConfig? AdapterConfig { get; init; }
}
