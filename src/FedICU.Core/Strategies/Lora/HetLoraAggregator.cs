namespace FedICU;

/// <summary>HetLoRA: the mean of padded LoRA factors by the norms of their products (<see cref="HetLora"/>).</summary>
/// <param name="options">The options; null for the defaults.</param>
public sealed class HetLoraAggregator(HetLoraOptions? options = null) : StageAggregator(new HetLora(options));
