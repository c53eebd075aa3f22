namespace FedICU;

/// <summary>The mean in which clients of a larger loss count more (<see cref="QFedAvg"/>).</summary>
/// <param name="options">The options; null for the defaults.</param>
public sealed class QFedAvgAggregator(QFedAvgOptions? options = null) : StageAggregator(new QFedAvg(options));
