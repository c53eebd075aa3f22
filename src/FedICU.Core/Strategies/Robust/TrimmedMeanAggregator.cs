namespace FedICU;

/// <summary>The coordinate-wise trimmed mean (<see cref="TrimmedMean"/>).</summary>
/// <param name="options">The options; null for the defaults.</param>
public sealed class TrimmedMeanAggregator(TrimmedMeanOptions? options = null) : StageAggregator(new TrimmedMean(options));
