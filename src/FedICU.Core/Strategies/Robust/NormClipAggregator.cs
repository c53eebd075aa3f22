namespace FedICU;

/// <summary>The mean of clipped updates (<see cref="NormClip"/>).</summary>
/// <param name="options">The options; null for the defaults.</param>
public sealed class NormClipAggregator(NormClipOptions? options = null) : StageAggregator(new NormClip(options));
