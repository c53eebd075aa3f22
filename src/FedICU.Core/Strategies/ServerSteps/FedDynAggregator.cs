using FedICU.Strategies.ServerSteps;

namespace FedICU;

/// <summary>FedDyn over FedAvg's mean (<see cref="FedDyn"/>).</summary>
/// <param name="options">The options; null for the defaults.</param>
public sealed class FedDynAggregator(FedDynOptions? options = null)
    : StageAggregator(new MeanWeights("feddyn", (options ?? new FedDynOptions()).Weighting), new FedDyn(options));
