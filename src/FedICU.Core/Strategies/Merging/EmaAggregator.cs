namespace FedICU;

/// <summary>The mean of the clients, with its exponential moving average over the rounds (<see cref="Ema"/>).</summary>
/// <param name="options">The options; null for the defaults.</param>
public sealed class EmaAggregator(EmaOptions? options = null) : StageAggregator(new Ema(options));
