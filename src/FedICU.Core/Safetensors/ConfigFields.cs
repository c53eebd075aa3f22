using System.Collections.Immutable;
using System.Text.Json;

namespace FedICU.Safetensors;

/// <summary>Typed access to the fields of a JSON object; a field of another type is refused in one sentence. A null is an absent field.</summary>
internal sealed class ConfigFields(JsonElement root, string location)
{
    public string? Text(string name) => Find(name) is { } value ? AsText(value, name) : null;

    public int Integer(string name, int absent) => Find(name) is { } value ? AsInteger(value, name) : absent;

    public double Number(string name, double absent) => Find(name) is { } value ? AsNumber(value, name) : absent;

    public bool Truth(string name) => Find(name) is { } value &&
        (value.ValueKind is JsonValueKind.True or JsonValueKind.False ? value.GetBoolean() : throw Wrong(name, "true or false", value));

    /// <summary>A list of names, or one string, which is a pattern.</summary>
    public (ImmutableSortedSet<string> Names, bool IsPattern) Names(string name)
    {
        ImmutableSortedSet<string> none = ImmutableSortedSet.Create<string>(StringComparer.Ordinal);
        return Find(name) switch
        {
            null => (none, false),
            { ValueKind: JsonValueKind.String } text => (none.Add(AsText(text, name)), true),
            { ValueKind: JsonValueKind.Array } list => (none.Union(list.EnumerateArray().Select(item => AsText(item, name))), false),
            { } other => throw Wrong(name, "a list of names or a string", other),
        };
    }

    /// <summary>An object that gives modules values of their own.</summary>
    public ImmutableSortedDictionary<string, T> Pattern<T>(string name, Func<JsonElement, string, T> read)
    {
        var pattern = ImmutableSortedDictionary.CreateBuilder<string, T>(StringComparer.Ordinal);
        if (Find(name) is { } value)
        {
            if (value.ValueKind != JsonValueKind.Object)
                throw Wrong(name, "an object", value);
            foreach (JsonProperty property in value.EnumerateObject())
                pattern.Add(property.Name, read(property.Value, name));
        }

        return pattern.ToImmutable();
    }

    public int AsInteger(JsonElement value, string name) =>
        value.ValueKind == JsonValueKind.Number && value.TryGetInt32(out int number) && number > 0
            ? number
            : throw Wrong(name, "a whole number from 1", value);

    public double AsNumber(JsonElement value, string name) =>
        value.ValueKind == JsonValueKind.Number && value.TryGetDouble(out double number) && double.IsFinite(number)
            ? number
            : throw Wrong(name, "a finite number", value);

    private string AsText(JsonElement value, string name) =>
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
