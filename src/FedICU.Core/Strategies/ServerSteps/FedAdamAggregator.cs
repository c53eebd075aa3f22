namespace FedICU;

/// <summary>FedAdam over FedAvg's mean (<see cref="FedAdam"/>).</summary>
/// <param name="options">The options; null for the defaults.</param>
/// <param name="weighting">How the clients weigh in the mean.</param>
public sealed class FedAdamAggregator(FedAdamOptions? options = null, Weighting weighting = Weighting.Share)
    : StageAggregator([new FedAdam(options)], new FedAvgOptions { Weighting = weighting });
