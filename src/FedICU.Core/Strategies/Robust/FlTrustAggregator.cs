namespace FedICU;

/// <summary>The mean of clients by the server's trust (<see cref="FlTrust"/>).</summary>
/// <param name="options">The options.</param>
public sealed class FlTrustAggregator(FlTrustOptions options) : StageAggregator(new FlTrust(options));
