namespace FedICU;

/// <summary>The mean of the clients with the smallest updates (<see cref="NormFilter"/>).</summary>
/// <param name="options">The options; null for the defaults.</param>
public sealed class NormFilterAggregator(NormFilterOptions? options = null) : StageAggregator(new NormFilter(options));
