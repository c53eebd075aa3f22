using FedICU.Strategies.ServerSteps;

namespace FedICU;

/// <summary>FLoRA: the clients' factors, stacked (<see cref="FLora"/>).</summary>
/// <param name="options">The options; null for the defaults.</param>
public sealed class FLoraAggregator(FLoraOptions? options = null)
    : StageAggregator(new MeanWeights("flora", options?.Weighting ?? Weighting.Share), new FLora(options));
