namespace FedICU;

/// <summary>FedAdagrad over FedAvg's mean (<see cref="FedAdagrad"/>).</summary>
/// <param name="options">The options; null for the defaults.</param>
/// <param name="weighting">How the clients weigh in the mean.</param>
public sealed class FedAdagradAggregator(FedAdagradOptions? options = null, Weighting weighting = Weighting.Share)
    : StageAggregator([new FedAdagrad(options)], new FedAvgOptions { Weighting = weighting });
