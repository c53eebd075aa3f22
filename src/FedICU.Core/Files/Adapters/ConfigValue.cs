using System.Globalization;
using System.Text;
using System.Text.Json;

namespace FedICU.Files.Adapters;

/// <summary>
/// Converts values of adapter configurations to texts that are equal exactly if the values mean the same.
/// </summary>
internal static class ConfigValue
{
    // Digits of the longest whole number that float64 represents exactly. Longer ones are shown as written.
    private const int ExactDigits = 15;

    /// <summary>
    /// Returns the value as text: numbers by their value, lists of names as sets, objects by their keys, strings in
    /// single quotes.
    /// </summary>
    public static string Format(JsonElement value)
    {
        var text = new StringBuilder();
        Append(text, value);
        return text.ToString();
    }

    /// <summary>Determines whether the value is null, an empty list or an empty object.</summary>
    public static bool IsEmpty(JsonElement value) =>
        value.ValueKind is JsonValueKind.Null or JsonValueKind.Undefined ||
        value.ValueKind == JsonValueKind.Array && value.GetArrayLength() == 0 ||
        value.ValueKind == JsonValueKind.Object && value.GetPropertyCount() == 0;

    public static string Quote(string text) => $"'{text.Replace("\\", "\\\\").Replace("'", "\\'")}'";

    private static void Append(StringBuilder text, JsonElement value)
    {
        switch (value.ValueKind)
        {
            case JsonValueKind.String:
                text.Append(Quote(value.GetString()!));
                break;
            case JsonValueKind.Number:
                text.Append(Number(value));
                break;
            case JsonValueKind.Array when !IsEmpty(value) && value.EnumerateArray().All(item => item.ValueKind == JsonValueKind.String):
                IEnumerable<string> names = value.EnumerateArray().Select(name => name.GetString()!).Distinct();
                text.Append('[').AppendJoin(", ", names.Order(StringComparer.Ordinal).Select(Quote)).Append(']');
                break;
            case JsonValueKind.Array:
                AppendAll(text, '[', value.EnumerateArray(), static (text, item) => Append(text, item), ']');
                break;
            case JsonValueKind.Object:
                AppendAll(text, '{', value.EnumerateObject().OrderBy(entry => entry.Name, StringComparer.Ordinal), static (text, entry) =>
                {
                    text.Append(Quote(entry.Name)).Append(": ");
                    Append(text, entry.Value);
                }, '}');
                break;
            default:
                text.Append(value.ValueKind switch { JsonValueKind.True => "true", JsonValueKind.False => "false", _ => "null" });
                break;
        }
    }

    private static void AppendAll<T>(StringBuilder text, char open, IEnumerable<T> items, Action<StringBuilder, T> append, char close)
    {
        text.Append(open);
        bool first = true;
        foreach (T item in items)
        {
            text.Append(first ? "" : ", ");
            first = false;
            append(text, item);
        }

        text.Append(close);
    }

    private static string Number(JsonElement value)
    {
        string raw = value.GetRawText();
        bool isWhole = !raw.AsSpan().ContainsAny('.', 'e', 'E');
        if (isWhole && raw.Length > ExactDigits || !value.TryGetDouble(out double number) || !double.IsFinite(number))
            return raw;
        // Adding 0.0 turns -0 into 0.
        string format = Math.Abs(number) < 1e15 && number == Math.Truncate(number) ? "F0" : "R";
        return (number + 0.0).ToString(format, CultureInfo.InvariantCulture);
    }
}
