namespace FedICU;

/// <summary>TIES (<see cref="Ties"/>).</summary>
/// <param name="options">The options; null for the defaults.</param>
public sealed class TiesAggregator(TiesOptions? options = null) : StageAggregator(new Ties(options));
