namespace FedICU;

/// <summary>A rule and the round's options, as <see cref="StrategyRegistry.Create"/> creates them.</summary>
/// <param name="Aggregator">The rule.</param>
/// <param name="Options">The round's options.</param>
public sealed record ConfiguredRound(StageAggregator Aggregator, RoundOptions Options);
