using System.Text.Json;
using FedICU.Registry;

namespace FedICU.Interop;

/// <summary>The JSON options of fedicu_create.</summary>
internal sealed record AggregatorSettings
{
    public string? Strategy { get; init; }

    public Dictionary<string, JsonElement>? Settings { get; init; }

    /// <summary>The file of the rule's state; null: it is kept in memory.</summary>
    public string? State { get; init; }

    /// <summary>The file that the new state is written to; null: <see cref="State"/>.</summary>
    public string? StateOut { get; init; }

    public int Threads { get; init; }

    public string? Backend { get; init; }

    public bool Statistics { get; init; }
}
