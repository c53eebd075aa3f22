using System.Text.Json;

namespace FedICU.Interop;

/// <summary>The JSON of fedicu_strategies: the strategies, and the options that every round has.</summary>
internal sealed record RegistryListing(IReadOnlyList<RegistryListing.Strategy> Strategies, IReadOnlyList<OptionDescription> RoundOptions)
{
    /// <summary>Returns the listing of the process's registry.</summary>
    public static string ToJson()
    {
        var strategies = FedICU.Interop.Strategies.Registry.Strategies.Select(
            known => new Strategy(known.Name, known.Summary, known.Paper, known.Options));
        var listing = new RegistryListing([.. strategies], StrategyRegistry.RoundOptions);
        return JsonSerializer.Serialize(listing, InteropJson.Default.RegistryListing);
    }

    /// <summary>A strategy.</summary>
    internal sealed record Strategy(string Name, string Summary, string Paper, IReadOnlyList<OptionDescription> Options);
}
