namespace FedICU;

/// <summary>DARE (<see cref="Dare"/>).</summary>
/// <param name="options">The options.</param>
public sealed class DareAggregator(DareOptions options) : StageAggregator(new Dare(options));
