using System.Text.Json;
using FedICU.Registry;

namespace FedICU.Interop;

/// <summary>The JSON options of fedicu_create.</summary>
internal sealed record AggregatorSettings
{
    public string? Strategy { get; init; }

    public Dictionary<string, JsonElement>? Settings { get; init; }

    public int Threads { get; init; }

    public string? Backend { get; init; }

    public bool Statistics { get; init; }
}
