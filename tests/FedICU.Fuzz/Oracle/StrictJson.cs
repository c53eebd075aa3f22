using System.Globalization;
using System.Text;

namespace FedICU.Fuzz.Oracle;

/// <summary>A JSON value: an object, an array, a string, or the literal of another value.</summary>
internal sealed record JsonValue(char Kind, string Text, List<(string Key, JsonValue Value)> Children);

/// <summary>
/// Parses JSON by RFC 8259 without a library, so that checks share no code with what they check. It refuses text that
/// is not valid Unicode.
/// </summary>
internal sealed class StrictJson
{
    private readonly string _text;
    private int _at;

    private StrictJson(string text) => _text = text;

    /// <summary>Parses a text.</summary>
    /// <param name="bytes">The text in UTF-8.</param>
    /// <param name="trailing">The characters that may follow the value.</param>
    /// <returns>The value, or null if the text is not valid.</returns>
    public static JsonValue? Parse(ReadOnlySpan<byte> bytes, string trailing)
    {
        try
        {
            var reader = new StrictJson(new UTF8Encoding(false, throwOnInvalidBytes: true).GetString(bytes));
            JsonValue value = reader.Value();
            return reader._text[reader._at..].All(trailing.Contains) ? value : null;
        }
        catch (Exception e) when (e is FormatException or DecoderFallbackException)
        {
            return null;
        }
    }

    private JsonValue Value()
    {
        switch (Peek())
        {
            case '{':
                return Container('{', '}');
            case '[':
                return Container('[', ']');
            case '"':
                return new JsonValue('"', String(), []);
            default:
                int start = _at;
                while (_at < _text.Length && (char.IsAsciiLetterOrDigit(_text[_at]) || _text[_at] is '+' or '-' or '.'))
                    _at++;
                string literal = _text[start.._at];
                bool isValue = literal is "true" or "false" or "null" || IsNumber(literal);
                return isValue ? new JsonValue('v', literal, []) : throw new FormatException();
        }
    }

    private JsonValue Container(char open, char close)
    {
        var children = new List<(string, JsonValue)>();
        _at++;
        Space();
        if (Peek() == close)
        {
            _at++;
            return new JsonValue(open, "", children);
        }

        while (true)
        {
            Space();
            string key = "";
            if (open == '{')
            {
                key = Peek() == '"' ? String() : throw new FormatException();
                Space();
                if (Take() != ':')
                    throw new FormatException();
                Space();
            }

            children.Add((key, Value()));
            Space();
            char next = Take();
            if (next == close)
                return new JsonValue(open, "", children);
            if (next != ',')
                throw new FormatException();
        }
    }

    private string String()
    {
        var text = new StringBuilder();
        _at++;
        for (char c; (c = Take()) != '"';)
        {
            if (c < ' ')
                throw new FormatException();
            text.Append(c == '\\' ? Escape() : c);
        }

        string result = text.ToString();
        return Generation.ModelDraft.IsUnicode(result) ? result : throw new FormatException();
    }

    private char Escape()
    {
        char c = Take();
        if (c != 'u')
            return @"""\/bfnrt".IndexOf(c, StringComparison.Ordinal) is var at and >= 0 ? "\"\\/\b\f\n\r\t"[at]
                : throw new FormatException();
        string digits = _at + 4 <= _text.Length ? _text.Substring(_at, 4) : throw new FormatException();
        _at += 4;
        return digits.All(char.IsAsciiHexDigit) ? (char)int.Parse(digits, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture)
            : throw new FormatException();
    }

    // -? (0 | [1-9] digits) (. digits)? ([eE] [+-]? digits)?
    private static bool IsNumber(string text)
    {
        int at = text.StartsWith('-') ? 1 : 0;
        int whole = Digits();
        if (whole == 0 || whole > 1 && text[at - whole] == '0')
            return false;
        if (at < text.Length && text[at] == '.')
        {
            at++;
            if (Digits() == 0)
                return false;
        }

        if (at < text.Length && text[at] is ('e' or 'E'))
        {
            at++;
            if (at < text.Length && text[at] is ('+' or '-'))
                at++;
            if (Digits() == 0)
                return false;
        }

        return at == text.Length;

        int Digits()
        {
            int start = at;
            while (at < text.Length && char.IsAsciiDigit(text[at]))
                at++;
            return at - start;
        }
    }

    private void Space()
    {
        while (_at < _text.Length && _text[_at] is (' ' or '\t' or '\n' or '\r'))
            _at++;
    }

    private char Peek() => _at < _text.Length ? _text[_at] : throw new FormatException();

    private char Take() => _at < _text.Length ? _text[_at++] : throw new FormatException();
}
