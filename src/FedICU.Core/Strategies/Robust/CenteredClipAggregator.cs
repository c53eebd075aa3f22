namespace FedICU;

/// <summary>Centered clipping (<see cref="CenteredClip"/> and <see cref="CenteredClipStep"/>).</summary>
/// <param name="options">The options; null for the defaults.</param>
public sealed class CenteredClipAggregator(CenteredClipOptions? options = null)
    : StageAggregator(new CenteredClip(options), new CenteredClipStep(options));
