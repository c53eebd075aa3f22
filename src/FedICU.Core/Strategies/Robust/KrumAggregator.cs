namespace FedICU;

/// <summary>Krum: the next model is the one client's whose neighbours are nearest (<see cref="Krum"/>).</summary>
/// <param name="options">The options; null for the defaults.</param>
public sealed class KrumAggregator(KrumOptions? options = null) : StageAggregator(new Krum(options));
