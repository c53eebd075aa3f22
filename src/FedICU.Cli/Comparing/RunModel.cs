namespace FedICU.Cli.Comparing;

/// <summary>The model of a run and how it was made. The global model itself has only a digest.</summary>
/// <param name="Digest">The model's digest.</param>
/// <param name="Backend">The backend that computed.</param>
/// <param name="IncludedClients">The number of clients that took part.</param>
/// <param name="Seconds">The time of the round.</param>
/// <param name="PeakMemoryBytes">The most memory that the round's process had in use.</param>
internal sealed record RunModel(
    string Digest, string? Backend = null, int? IncludedClients = null, double? Seconds = null, long? PeakMemoryBytes = null);
