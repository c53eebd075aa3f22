namespace FedICU.Cli.Json;

/// <summary>The result of <c>fedicu aggregate --json</c>.</summary>
/// <param name="Model">The file of the new model.</param>
/// <param name="Digest">The digest of the new model's names, types, shapes and values.</param>
/// <param name="Strategy">The strategy, or several joined by commas.</param>
/// <param name="Backend">The backend that computed.</param>
/// <param name="Clients">The number of clients that came.</param>
/// <param name="IncludedClients">The number of clients that took part.</param>
/// <param name="Tensors">The number of tensors.</param>
/// <param name="Seconds">The time of the round, without the start of the tool.</param>
/// <param name="PeakMemoryBytes">
/// The most memory that the process had in use at once; null if the system does not say.
/// </param>
internal sealed record AggregatedModel(
    string Model, string Digest, string Strategy, string Backend, int Clients, int IncludedClients, int Tensors, double Seconds,
    long? PeakMemoryBytes);
