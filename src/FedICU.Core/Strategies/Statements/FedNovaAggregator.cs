namespace FedICU;

/// <summary>The mean of updates normalized by their local steps (<see cref="FedNova"/>).</summary>
/// <param name="options">The options; null for the defaults.</param>
public sealed class FedNovaAggregator(FedNovaOptions? options = null) : StageAggregator(new FedNova(options));
