namespace FedICU;

/// <summary>Spherical interpolation of two clients (<see cref="Slerp"/>).</summary>
/// <param name="options">The options; null for the defaults.</param>
public sealed class SlerpAggregator(SlerpOptions? options = null) : StageAggregator(new Slerp(options));
