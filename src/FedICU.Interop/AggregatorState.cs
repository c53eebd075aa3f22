namespace FedICU.Interop;

/// <summary>The JSON state of fedicu_export_state: what an aggregator keeps from round to round.</summary>
internal sealed record AggregatorState(int Version, string Strategy, long? Round);
