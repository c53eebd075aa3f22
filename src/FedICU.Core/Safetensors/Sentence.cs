using System.Globalization;
using System.Text;
using System.Text.Json;

namespace FedICU.Safetensors;

/// <summary>Pieces of the sentences that refuse a file.</summary>
internal static class Sentence
{
    // names come from files: a hostile one of 100 MB, or one with terminal escapes, must not pass into a message whole
    private const int LongestName = 200;

    /// <summary>The text in single quotes, cleaned.</summary>
    public static string Quote(string text) => $"'{Clean(text)}'";

    /// <summary>The text with control characters and broken surrogates escaped, cut where it is very long.</summary>
    public static string Clean(string text)
    {
        bool cut = text.Length > LongestName;
        ReadOnlySpan<char> kept = cut ? text.AsSpan(0, LongestName) : text;
        bool plain = !kept.ContainsAnyInRange('\0', '\u001f') && !kept.ContainsAnyInRange('\u007f', '\u009f') &&
            !kept.ContainsAnyInRange('\ud800', '\udfff');
        if (plain && !cut)
            return text;

        var clean = new StringBuilder();
        while (!kept.IsEmpty)
        {
            if (Rune.DecodeFromUtf16(kept, out Rune rune, out int used) == System.Buffers.OperationStatus.Done && !Rune.IsControl(rune))
                clean.Append(kept[..used]);
            else
                clean.Append(CultureInfo.InvariantCulture, $"\\u{(int)kept[0]:x4}");
            kept = kept[used..];
        }

        return clean.Append(cut ? "..." : "").ToString();
    }

    /// <summary>What a JSON value is, in words: <c>a number</c>.</summary>
    public static string Kind(JsonTokenType token) => token switch
    {
        JsonTokenType.StartObject => "an object",
        JsonTokenType.StartArray => "an array",
        JsonTokenType.String => "a string",
        JsonTokenType.Number => "a number",
        JsonTokenType.True or JsonTokenType.False => "a truth value",
        JsonTokenType.Null => "null",
        _ => "nothing",
    };

    /// <summary>What a JSON value is, in words: <c>a number</c>.</summary>
    public static string Kind(JsonValueKind kind) => kind switch
    {
        JsonValueKind.Object => "an object",
        JsonValueKind.Array => "an array",
        JsonValueKind.String => "a string",
        JsonValueKind.Number => "a number",
        JsonValueKind.True or JsonValueKind.False => "a truth value",
        JsonValueKind.Null => "null",
        _ => "nothing",
    };

    /// <summary>True where the text can be written as UTF-8: no half of a surrogate pair stands alone.</summary>
    public static bool IsUnicode(string text)
    {
        ReadOnlySpan<char> rest = text;
        for (int at; (at = rest.IndexOfAnyInRange('\ud800', '\udfff')) >= 0; rest = rest[(at + 2)..])
        {
            if (at + 1 >= rest.Length || !char.IsSurrogatePair(rest[at], rest[at + 1]))
                return false;
        }

        return true;
    }
}
