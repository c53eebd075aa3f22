namespace FedICU.Interop;

/// <summary>
/// The JSON state of fedicu_export_state: what an aggregator keeps from round to round, without tensors.
/// </summary>
/// <param name="Version">The version of the interface.</param>
/// <param name="Strategy">The strategies' names, joined by commas.</param>
/// <param name="Round">The number of the last round.</param>
/// <param name="InMemory">
/// The finished rounds of a rule's state that the aggregator keeps in memory; 0 if there is none. The state itself is
/// not exported.
/// </param>
internal sealed record AggregatorState(int Version, string Strategy, long? Round, long InMemory = 0);
