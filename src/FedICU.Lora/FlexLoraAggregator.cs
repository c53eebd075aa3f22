using FedICU.Strategies.ServerSteps;

namespace FedICU;

/// <summary>FlexLoRA: the best factors of the clients' mean product (<see cref="FlexLora"/>).</summary>
/// <param name="options">The options; null for the defaults.</param>
public sealed class FlexLoraAggregator(FlexLoraOptions? options = null)
    : StageAggregator(new MeanWeights("flexlora", options?.Weighting ?? Weighting.Share), new FlexLora(options));
