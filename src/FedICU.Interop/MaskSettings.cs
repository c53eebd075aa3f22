using System.Text.Json;
using FedICU.Registry;

namespace FedICU.Interop;

/// <summary>The JSON options of fedicu_mask.</summary>
internal sealed record MaskSettings
{
    public Dictionary<string, JsonElement>? Settings { get; init; }

    public int Threads { get; init; }

    public long? Round { get; init; }

    public bool Dense { get; init; }
}
