using System.Globalization;
using System.Text;
using FedICU.Fuzz.Oracle;

namespace FedICU.Fuzz.Generation;

/// <summary>
/// A tree of JSON literals, which can also contain invalid JSON: duplicate names, unpaired surrogates, numbers with any
/// number of digits.
/// </summary>
internal sealed class Json
{
    private Json(char kind, string literal) => (Kind, Literal) = (kind, literal);

    /// <summary><c>{</c> for an object, <c>[</c> for an array, <c>v</c> for a value.</summary>
    public char Kind { get; set; }

    /// <summary>The literal of a value, with its quotes.</summary>
    public string Literal { get; set; }

    /// <summary>
    /// The members of an object, whose keys are literals with quotes, or the items of an array, whose keys are empty.
    /// </summary>
    public List<(string Key, Json Value)> Children { get; private set; } = [];

    public static Json Value(string literal) => new('v', literal);

    public static Json Text(string text) => Value(Quote(text));

    public static Json Number(long number) => Value(number.ToString(CultureInfo.InvariantCulture));

    public static Json Object(params ReadOnlySpan<(string Key, Json Value)> members)
    {
        var json = new Json('{', "");
        foreach ((string key, Json value) in members)
            json.Children.Add((Quote(key), value));
        return json;
    }

    public static Json Array(params IEnumerable<Json> items) => new('[', "") { Children = [.. items.Select(item => ("", item))] };

    /// <summary>Parses a text; an invalid text gives an empty object.</summary>
    public static Json Parse(string text)
    {
        return StrictJson.Parse(Encoding.UTF8.GetBytes(text), trailing: " \t\r\n") is { } value ? From(value) : Object();

        static Json From(JsonValue value) => value.Kind switch
        {
            '{' => new Json('{', "") { Children = [.. value.Children.Select(child => (Quote(child.Key), From(child.Value)))] },
            '[' => Array(value.Children.Select(child => From(child.Value))),
            '"' => Text(value.Text),
            _ => Value(value.Text),
        };
    }

    /// <summary>Finds the member with a key that needs no escapes.</summary>
    public Json? this[string key] => Children.Find(child => child.Key == Quote(key)).Value;

    public Json Add(string key, Json value)
    {
        Children.Add((Quote(key), value));
        return this;
    }

    public Json Clone() => new(Kind, Literal) { Children = [.. Children.Select(child => (child.Key, child.Value.Clone()))] };

    /// <summary>Lists this node and all its descendants.</summary>
    public IEnumerable<Json> All() => Children.SelectMany(child => child.Value.All()).Prepend(this);

    public byte[] ToBytes() => Encoding.UTF8.GetBytes(ToString());

    public override string ToString()
    {
        var text = new StringBuilder();
        Write(text);
        return text.ToString();
    }

    /// <summary>Writes a text as a JSON string; escapes only the characters that must be escaped.</summary>
    public static string Quote(string text)
    {
        var quoted = new StringBuilder("\"");
        for (int i = 0; i < text.Length; i++)
        {
            bool pair = i + 1 < text.Length && char.IsSurrogatePair(text[i], text[i + 1]);
            if (pair)
                quoted.Append(text[i]).Append(text[++i]);
            else if (text[i] is '"' or '\\')
                quoted.Append('\\').Append(text[i]);
            else if (text[i] < ' ' || char.IsSurrogate(text[i]))
                quoted.Append(CultureInfo.InvariantCulture, $"\\u{(int)text[i]:x4}");
            else
                quoted.Append(text[i]);
        }

        return quoted.Append('"').ToString();
    }

    private void Write(StringBuilder text)
    {
        if (Kind == 'v')
        {
            text.Append(Literal);
            return;
        }

        text.Append(Kind);
        for (int i = 0; i < Children.Count; i++)
        {
            text.Append(i == 0 ? "" : ",");
            if (Kind == '{')
                text.Append(Children[i].Key).Append(':');
            Children[i].Value.Write(text);
        }

        text.Append(Kind == '{' ? '}' : ']');
    }
}
