namespace FedICU;

/// <summary>The mean of late updates (<see cref="FedBuff"/>).</summary>
/// <param name="options">The options; null for the defaults.</param>
public sealed class FedBuffAggregator(FedBuffOptions? options = null) : StageAggregator(new FedBuff(options));
