using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using FedICU.Text;

namespace FedICU.Files.Adapters;

/// <summary>Compares adapter configurations by the fields that decide whether the adapters can be averaged.</summary>
internal static class ConfigComparison
{
    /// <summary>
    /// Describes the first deciding field that differs, or returns null (see
    /// <see cref="PeftAdapterConfig.DescribeDisagreement"/>).
    /// </summary>
    public static string? DescribeDisagreement(
        PeftAdapterConfig config, PeftAdapterConfig other, bool ignoreBase, bool ignoreRanks = false)
    {
        if (config.RawJson.Span.SequenceEqual(other.RawJson.Span))
            return null;
        if (TypeOf(config) != TypeOf(other))
            return Describe(PeftFields.Type, QuoteType(config.PeftType), QuoteType(other.PeftType));
        using JsonDocument document = JsonDocument.Parse(config.RawJson), otherDocument = JsonDocument.Parse(other.RawJson);
        Dictionary<string, JsonElement> others = DecidingFields(other, otherDocument.RootElement)
            .ToDictionary(field => field.Name, field => field.Value, StringComparer.Ordinal);
        foreach ((string name, JsonElement value) in DecidingFields(config, document.RootElement))
        {
            others.Remove(name, out JsonElement found);
            if (ignoreBase && name == PeftFields.BaseModel || ignoreRanks && PeftFields.IsRank(name))
                continue;
            if (!HaveSameMeaning(name, value, found))
                return Describe(name, ConfigValue.Format(value), ConfigValue.Format(found));
        }

        string? extra = others.Where(field => !ConfigValue.IsEmpty(field.Value)).Select(field => field.Key).Min(StringComparer.Ordinal);
        return extra is null ? null : Describe(extra, "null", ConfigValue.Format(others[extra]));

        static string QuoteType(string? type) => type is null ? "null" : ConfigValue.Quote(type);

        static string Describe(string field, string value, string otherValue) =>
            $"{Sentence.Clean(field)} {Sentence.Clean(value)} against {Sentence.Clean(otherValue)}";
    }

    /// <summary>Returns a text that is equal exactly for configurations that agree.</summary>
    public static string KeyOf(PeftAdapterConfig config, bool ignoreRanks = false)
    {
        using JsonDocument document = JsonDocument.Parse(config.RawJson);
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        IEnumerable<(string Name, JsonElement Value)> fields = DecidingFields(config, document.RootElement);
        foreach ((string name, JsonElement value) in fields.OrderBy(field => field.Name, StringComparer.Ordinal))
        {
            if (!ConfigValue.IsEmpty(value) && !(ignoreRanks && PeftFields.IsRank(name)))
                hash.AppendData(Encoding.UTF8.GetBytes($"{ConfigValue.Quote(name)}: {ConfigValue.Quote(Normalize(name, value))}\n"));
        }

        return $"{TypeOf(config)} {Convert.ToHexStringLower(hash.GetHashAndReset())}";
    }

    /// <summary>Returns the fields that decide, with their values or the type's defaults.</summary>
    public static IEnumerable<(string Name, JsonElement Value)> DecidingFields(PeftAdapterConfig config, JsonElement root)
    {
        if (PeftFields.Of(TypeOf(config)) is { } known)
            return known.Select(field => (field.Name, Stated(field.Name) ?? field.Default));
        IEnumerable<(string, JsonElement)> all =
            root.EnumerateObject().Where(field => PeftFields.Decides(field.Name)).Select(field => (field.Name, field.Value));
        return Stated(PeftFields.BaseModel) is { } model ? all.Append((PeftFields.BaseModel, model)) : all;

        JsonElement? Stated(string name) =>
            root.TryGetProperty(name, out JsonElement value) && value.ValueKind != JsonValueKind.Null ? value : null;
    }

    private static string TypeOf(PeftAdapterConfig config) => config.PeftType ?? PeftFields.Lora;

    private static bool HaveSameMeaning(string name, JsonElement value, JsonElement other)
    {
        if (ConfigValue.IsEmpty(value) || ConfigValue.IsEmpty(other))
            return ConfigValue.IsEmpty(value) == ConfigValue.IsEmpty(other);
        return Normalize(name, value) == Normalize(name, other);
    }

    private static string Normalize(string name, JsonElement value) => name switch
    {
        PeftFields.BaseModel => value.GetString()!.TrimEnd('/', '\\'),
        // A single layer means the same as a list with that layer, and the order of a list does not matter.
        "layers_to_transform" when value.ValueKind == JsonValueKind.Number => $"[{ConfigValue.Format(value)}]",
        "layers_to_transform" when value.ValueKind == JsonValueKind.Array =>
            $"[{string.Join(", ", value.EnumerateArray().Select(ConfigValue.Format).Distinct().Order(StringComparer.Ordinal))}]",
        // These initializations leave the base model's weights unchanged. The others change the weights that B A is
        // added to.
        PeftFields.InitialWeights when value.ValueKind is JsonValueKind.True or JsonValueKind.False ||
            value.ValueKind == JsonValueKind.String && value.GetString()!.ToLowerInvariant() is "gaussian" or "eva" or "orthogonal" => "",
        _ => ConfigValue.Format(value),
    };
}
