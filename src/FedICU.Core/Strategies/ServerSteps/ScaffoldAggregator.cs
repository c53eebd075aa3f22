using FedICU.Strategies.ServerSteps;

namespace FedICU;

/// <summary>SCAFFOLD over FedAvg's mean (<see cref="Scaffold"/>).</summary>
/// <param name="options">The options; null for the defaults.</param>
public sealed class ScaffoldAggregator(ScaffoldOptions? options = null)
    : StageAggregator(new MeanWeights("scaffold", (options ?? new ScaffoldOptions()).Weighting), new Scaffold(options));
