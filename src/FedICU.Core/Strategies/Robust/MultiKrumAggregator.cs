namespace FedICU;

/// <summary>The mean of the clients whose neighbours are nearest (<see cref="MultiKrum"/>).</summary>
/// <param name="options">The options; null for the defaults.</param>
public sealed class MultiKrumAggregator(MultiKrumOptions? options = null) : StageAggregator(new MultiKrum(options));
