namespace FedICU.Cli.Json;

/// <summary>A run of <c>comparison.json</c>.</summary>
/// <param name="Name">The run's name.</param>
/// <param name="Folder">Its folder in the comparison's folder.</param>
/// <param name="Strategy">The strategies, joined by commas; null for the global model.</param>
/// <param name="Options">The options that the comparison gave it.</param>
/// <param name="Outcome"><c>done</c>, <c>failed</c> or <c>pending</c>.</param>
/// <param name="Failure">Why it failed.</param>
/// <param name="Metrics">What the evaluation printed.</param>
/// <param name="Seconds">The time of the round.</param>
/// <param name="EvaluationSeconds">The time of the evaluation.</param>
/// <param name="PeakMemoryBytes">The most memory that the round's process had in use.</param>
/// <param name="IncludedClients">The number of clients that took part.</param>
/// <param name="Backend">The backend that computed.</param>
/// <param name="Digest">The model's digest.</param>
/// <param name="SameAs">The first run that has the same model.</param>
/// <param name="Model">The model's path, if it was kept.</param>
internal sealed record ComparedRunResult(
    string Name, string Folder, string? Strategy, IReadOnlyDictionary<string, string> Options, string Outcome, string? Failure,
    IReadOnlyDictionary<string, double> Metrics, double? Seconds, double? EvaluationSeconds, long? PeakMemoryBytes,
    int? IncludedClients, string? Backend, string? Digest, string? SameAs, string? Model);
