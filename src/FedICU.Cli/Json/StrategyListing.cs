namespace FedICU.Cli.Json;

/// <summary>The result of <c>fedicu strategies --json</c>.</summary>
/// <param name="Strategies">All strategies, or the one that was named.</param>
/// <param name="RoundOptions">The options that every round has.</param>
internal sealed record StrategyListing(IReadOnlyList<ListedStrategy> Strategies, IReadOnlyList<OptionDescription> RoundOptions);
