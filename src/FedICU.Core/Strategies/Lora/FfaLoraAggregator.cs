using FedICU.Strategies.ServerSteps;

namespace FedICU;

/// <summary>FFA-LoRA: the mean of B; A is frozen (<see cref="FfaLora"/>).</summary>
/// <param name="weighting">How the clients weigh.</param>
public sealed class FfaLoraAggregator(Weighting weighting = Weighting.Share)
    : StageAggregator(new MeanWeights("ffa-lora", weighting), new FfaLora());
