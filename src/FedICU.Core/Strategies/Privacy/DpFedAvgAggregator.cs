namespace FedICU;

/// <summary>DP-FedAvg (<see cref="DpFedAvg"/> and <see cref="DpNoise"/>).</summary>
/// <param name="options">The options.</param>
public sealed class DpFedAvgAggregator(DpFedAvgOptions options) : StageAggregator(new DpFedAvg(options), new DpNoise());
