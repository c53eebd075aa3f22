namespace FedICU;

/// <summary>Bulyan (<see cref="Bulyan"/> and <see cref="BulyanMean"/>).</summary>
/// <param name="options">The options; null for the defaults.</param>
public sealed class BulyanAggregator(BulyanOptions? options = null) : StageAggregator(new Bulyan(options), new BulyanMean());
