namespace FedICU;

/// <summary>The geometric median of whole models (<see cref="GeometricMedian"/>).</summary>
/// <param name="options">The options; null for the defaults.</param>
public sealed class GeometricMedianAggregator(GeometricMedianOptions? options = null) : StageAggregator(new GeometricMedian(options));
