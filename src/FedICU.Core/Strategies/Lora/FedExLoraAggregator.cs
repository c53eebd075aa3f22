using FedICU.Strategies.ServerSteps;

namespace FedICU;

/// <summary>FedEx-LoRA: the factors' means, and the residual beside them (<see cref="FedExLora"/>).</summary>
/// <param name="options">The options; null for the defaults.</param>
public sealed class FedExLoraAggregator(FedExLoraOptions? options = null)
    : StageAggregator(new MeanWeights("fedex-lora", options?.Weighting ?? Weighting.Share), new FedExLora(options));
