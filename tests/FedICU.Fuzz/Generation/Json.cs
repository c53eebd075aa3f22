using System.Globalization;
using System.Text;
using FedICU.Fuzz.Oracle;

namespace FedICU.Fuzz.Generation;

/// <summary>
/// JSON as a tree of literals, which can also hold what JSON does not allow: a name twice, half of a surrogate pair, a number of any
/// digits.
/// </summary>
internal sealed class Json
{
    private Json(char kind, string literal) => (Kind, Literal) = (kind, literal);

    /// <summary>An object's brace, an array's bracket, or <c>v</c> for a value.</summary>
    public char Kind { get; set; }

    /// <summary>A value as it is written, with its quotes.</summary>
    public string Literal { get; set; }

    /// <summary>An object's members or an array's items, whose keys are empty; keys are literals, with their quotes.</summary>
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

    /// <summary>A valid text as a tree; an empty object where it is not valid.</summary>
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

    /// <summary>The member of a plain key.</summary>
    public Json? this[string key] => Children.Find(child => child.Key == Quote(key)).Value;

    public Json Add(string key, Json value)
    {
        Children.Add((Quote(key), value));
        return this;
    }

    public Json Clone() => new(Kind, Literal) { Children = [.. Children.Select(child => (child.Key, child.Value.Clone()))] };

    /// <summary>This node and all below it.</summary>
    public IEnumerable<Json> All() => Children.SelectMany(child => child.Value.All()).Prepend(this);

    public byte[] ToBytes() => Encoding.UTF8.GetBytes(ToString());

    public override string ToString()
    {
        var text = new StringBuilder();
        Write(text);
        return text.ToString();
    }

    /// <summary>A text as JSON writes it; characters that must be escaped are, no others.</summary>
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
