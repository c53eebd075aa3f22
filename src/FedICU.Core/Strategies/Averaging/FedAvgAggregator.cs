namespace FedICU;

/// <summary>FedAvg: the mean of the clients' parameters by their numbers of examples (<see cref="FedAvg"/>).</summary>
/// <param name="options">The options; null for the defaults.</param>
public sealed class FedAvgAggregator(FedAvgOptions? options = null) : StageAggregator(new FedAvg(options));
