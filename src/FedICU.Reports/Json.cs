using System.Text.Json;

namespace FedICU.Reports;

/// <summary>Writes numbers and names that JSON does not have as they are.</summary>
internal static class Json
{
    /// <summary>Writes a number; null if it is missing, NaN or infinite.</summary>
    public static void Number(Utf8JsonWriter json, string name, double? value)
    {
        if (value is { } number && double.IsFinite(number))
            json.WriteNumber(name, number);
        else
            json.WriteNull(name);
    }

    /// <summary>Writes numbers as a list.</summary>
    public static void Numbers(Utf8JsonWriter json, string name, IEnumerable<int> values)
    {
        json.WriteStartArray(name);
        foreach (int value in values)
            json.WriteNumberValue(value);
        json.WriteEndArray();
    }

    /// <summary>Writes names as a list.</summary>
    public static void Names(Utf8JsonWriter json, string name, IEnumerable<string> values)
    {
        json.WriteStartArray(name);
        foreach (string value in values)
            json.WriteStringValue(DisplayName.Full(value));
        json.WriteEndArray();
    }

    /// <summary>Writes a sentence or nothing.</summary>
    public static void Text(Utf8JsonWriter json, string name, string? text)
    {
        if (text is null)
            json.WriteNull(name);
        else
            json.WriteString(name, DisplayName.Full(text));
    }
}
