namespace FedICU;

/// <summary>The coordinate-wise median (<see cref="Median"/>).</summary>
public sealed class MedianAggregator() : StageAggregator(new Median());
