namespace FedICU.Cli.Json;

/// <summary>The results of <c>fedicu compare</c>: <c>comparison.json</c>.</summary>
/// <param name="Format">Always <c>fedicu-comparison</c>.</param>
/// <param name="Version">The version of the form.</param>
/// <param name="Tool">The version of the tool.</param>
/// <param name="Global">The global model as typed.</param>
/// <param name="Clients">The number of clients that came.</param>
/// <param name="Evaluate">The command that evaluated; null without one.</param>
/// <param name="Metric">The metric that decides; null without one.</param>
/// <param name="Direction"><c>maximize</c> or <c>minimize</c>; null without a metric.</param>
/// <param name="Best">The name of the best run.</param>
/// <param name="Metrics">The names of all metrics.</param>
/// <param name="Runs">The runs in the order typed.</param>
internal sealed record ComparisonResults(
    string Format, int Version, string Tool, string Global, int Clients, string? Evaluate, string? Metric, string? Direction,
    string? Best, IReadOnlyList<string> Metrics, IReadOnlyList<ComparedRunResult> Runs);
