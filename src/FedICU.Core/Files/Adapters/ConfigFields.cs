using System.Collections.Immutable;
using System.Text.Json;
using FedICU.Text;

namespace FedICU.Files.Adapters;

/// <summary>
/// Typed access to the fields of a JSON object. A field of another type is rejected with one sentence; a null counts as
/// an absent field.
/// </summary>
internal sealed class ConfigFields(JsonElement root, string location)
{
    public string? ReadText(string name) => Find(name) is { } value ? ToText(value, name) : null;

    /// <summary>Returns the text, or null if the field is absent or has another type.</summary>
    public string? ReadTextOrNull(string name) => Find(name) is { ValueKind: JsonValueKind.String } value ? value.GetString() : null;

    public int ReadInteger(string name, int absent) => Find(name) is { } value ? ToInteger(value, name) : absent;

    public int ReadIntegerOrDefault(string name, double absent) =>
        Find(name) is { ValueKind: JsonValueKind.Number } value && value.TryGetInt32(out int number) ? number : (int)absent;

    public double ReadNumber(string name, double absent) => Find(name) is { } value ? ToNumber(value, name) : absent;

    public double ReadNumberOrDefault(string name, double absent) =>
        Find(name) is { ValueKind: JsonValueKind.Number } value && value.TryGetDouble(out double number) && double.IsFinite(number)
            ? number
            : absent;

    public bool ReadBoolean(string name) => Find(name) is { } value &&
        (value.ValueKind is JsonValueKind.True or JsonValueKind.False ? value.GetBoolean() : throw Wrong(name, "true or false", value));

    /// <summary>Determines whether a switch or an object of options is set: neither absent, false nor empty.</summary>
    public bool IsOn(string name) => Find(name) is { } value && value.ValueKind != JsonValueKind.False && !ConfigValue.IsEmpty(value);

    /// <summary>Reads a list of names, or a single string, which is a pattern.</summary>
    public ImmutableSortedSet<string> ReadNames(string name) =>
        Find(name) is null or { ValueKind: JsonValueKind.String or JsonValueKind.Array }
            ? ReadNames(name, Find(name))
            : throw Wrong(name, "a list of names or a string", Find(name)!.Value);

    /// <summary>Reads a list of names or a single string; returns no names if the field has another form.</summary>
    public ImmutableSortedSet<string> ReadNamesOrNone(string name) =>
        Find(name) is { ValueKind: JsonValueKind.Array } list && list.EnumerateArray().Any(item => item.ValueKind != JsonValueKind.String)
            ? ReadNames(name, null)
            : ReadNames(name, Find(name));

    /// <summary>Reads an object that gives values for single modules, in the order of the file.</summary>
    public List<KeyValuePair<string, T>> ReadPattern<T>(string name, Func<JsonElement, string, T> read) => Find(name) switch
    {
        null => [],
        { ValueKind: JsonValueKind.Object } value =>
            [.. value.EnumerateObject().Select(entry => KeyValuePair.Create(entry.Name, read(entry.Value, name)))],
        { } other => throw Wrong(name, "an object", other),
    };

    public int ToInteger(JsonElement value, string name) =>
        value.ValueKind == JsonValueKind.Number && value.TryGetInt32(out int number) && number > 0
            ? number
            : throw Wrong(name, "a whole number from 1", value);

    public double ToNumber(JsonElement value, string name) =>
        value.ValueKind == JsonValueKind.Number && value.TryGetDouble(out double number) && double.IsFinite(number)
            ? number
            : throw Wrong(name, "a finite number", value);

    private ImmutableSortedSet<string> ReadNames(string name, JsonElement? value)
    {
        ImmutableSortedSet<string> none = ImmutableSortedSet.Create<string>(StringComparer.Ordinal);
        return value switch
        {
            { ValueKind: JsonValueKind.String } text => none.Add(text.GetString()!),
            { ValueKind: JsonValueKind.Array } list => none.Union(list.EnumerateArray().Select(item => ToText(item, name))),
            _ => none,
        };
    }

    private string ToText(JsonElement value, string name) =>
        value.ValueKind == JsonValueKind.String ? value.GetString()! : throw Wrong(name, "a string", value);

    private JsonElement? Find(string name) =>
        root.TryGetProperty(name, out JsonElement value) && value.ValueKind != JsonValueKind.Null ? value : null;

    private InvalidModelException Wrong(string name, string expected, JsonElement found)
    {
        string what = found.ValueKind is JsonValueKind.Number or JsonValueKind.String
            ? Sentence.Quote(found.ToString())
            : Sentence.Kind(found.ValueKind);
        return new InvalidModelException($"'{location}' has {what} for {name}, expected {expected}.");
    }
}
