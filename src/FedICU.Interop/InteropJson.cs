using System.Text.Json;
using System.Text.Json.Serialization;

namespace FedICU.Interop;

/// <summary>
/// The JSON of the C interface, with serializers generated at compile time for the build without a .NET runtime.
/// </summary>
[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow)]
[JsonSerializable(typeof(AdaptSettings))]
[JsonSerializable(typeof(AggregatorSettings))]
[JsonSerializable(typeof(MaskSettings))]
[JsonSerializable(typeof(AggregatorState))]
[JsonSerializable(typeof(RegistryListing))]
[JsonSerializable(typeof(IReadOnlyDictionary<string, string>))]
[JsonSerializable(typeof(Dictionary<string, string>))]
[JsonSerializable(typeof(Dictionary<string, JsonElement>))]
internal sealed partial class InteropJson : JsonSerializerContext
{
    /// <summary>Converts settings to text: strings as they are, other values as their JSON.</summary>
    public static IEnumerable<KeyValuePair<string, string>> ToText(Dictionary<string, JsonElement>? settings)
    {
        foreach ((string name, JsonElement value) in settings ?? [])
            yield return new(name, value.ValueKind == JsonValueKind.String ? value.GetString()! : value.GetRawText());
    }
}
