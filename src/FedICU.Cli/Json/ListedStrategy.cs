namespace FedICU.Cli.Json;

/// <summary>
/// A strategy of <c>fedicu strategies --json</c>. Its stages and state are null if it has an option without a default.
/// </summary>
internal sealed record ListedStrategy(
    string Name, string Summary, string Paper, IReadOnlyList<string>? Stages, IReadOnlyList<string>? State,
    IReadOnlyList<OptionDescription> Options);
