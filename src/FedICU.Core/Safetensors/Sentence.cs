using System.Globalization;
using System.Text;
using System.Text.Json;

namespace FedICU.Safetensors;

/// <summary>Pieces of sentences: names made fit to be shown, counts, kinds of JSON values.</summary>
internal static class Sentence
{
    // names come from files: a hostile one of 100 MB, or one with terminal escapes, must not pass into a message whole
    private const int LongestName = 200;

    /// <summary>The text in single quotes, cleaned.</summary>
    public static string Quote(string text) => $"'{Clean(text)}'";

    /// <summary>The text with control characters and broken surrogates escaped, cut where it is very long.</summary>
    public static string Clean(string text, int longest = LongestName)
    {
        bool cut = text.Length > longest;
        ReadOnlySpan<char> kept = cut ? text.AsSpan(0, longest) : text;
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
    public static string Kind(JsonTokenType token) => Kind(token switch
    {
        JsonTokenType.StartObject => JsonValueKind.Object,
        JsonTokenType.StartArray => JsonValueKind.Array,
        JsonTokenType.String => JsonValueKind.String,
        JsonTokenType.Number => JsonValueKind.Number,
        JsonTokenType.True or JsonTokenType.False => JsonValueKind.True,
        JsonTokenType.Null => JsonValueKind.Null,
        _ => JsonValueKind.Undefined,
    });

    /// <summary>A count of things whose plural takes an s: <c>1 tensor</c>, <c>2 tensors</c>.</summary>
    public static string Count(long count, string noun) => string.Create(CultureInfo.InvariantCulture, $"{count} {noun}{(count == 1 ? "" : "s")}");

    /// <summary>The form of a verb that goes with a count.</summary>
    public static string Form(long count, string one, string many) => count == 1 ? one : many;

    /// <summary>What is wrong with so many values: <c>1 value that is NaN or infinite</c>.</summary>
    public static string NonFinite(long count) => $"{Count(count, "value")} that {Form(count, "is", "are")} NaN or infinite";

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
