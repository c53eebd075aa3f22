namespace FedICU;

/// <summary>FedAvgM over FedAvg's mean (<see cref="FedAvgM"/>).</summary>
/// <param name="options">The options; null for the defaults.</param>
/// <param name="weighting">How the clients weigh in the mean.</param>
public sealed class FedAvgMAggregator(FedAvgMOptions? options = null, Weighting weighting = Weighting.Share)
    : StageAggregator([new FedAvgM(options)], new FedAvgOptions { Weighting = weighting });
