namespace FedICU;

/// <summary>FedYogi over FedAvg's mean (<see cref="FedYogi"/>).</summary>
/// <param name="options">The options; null for the defaults.</param>
/// <param name="weighting">How the clients weigh in the mean.</param>
public sealed class FedYogiAggregator(FedYogiOptions? options = null, Weighting weighting = Weighting.Share)
    : StageAggregator([new FedYogi(options)], new FedAvgOptions { Weighting = weighting });
