using System.Buffers;
using System.Globalization;
using System.Text;
using System.Text.Json;

namespace FedICU.Text;

/// <summary>Pieces of sentences: names made fit to be shown, counts, kinds of JSON values.</summary>
internal static class Sentence
{
    /// <summary>The longest message of an exception or a report, in characters.</summary>
    public const int LongestMessage = 1000;

    // names come from files: one of 100 MB, or one with terminal escapes, must not pass into a message as it is
    private const int LongestName = 200;
    private const string Gap = "...";

    /// <summary>The text in single quotes, cleaned.</summary>
    public static string Quote(string text) => $"'{Clean(text)}'";

    /// <summary>A whole message, cleaned and cut to <see cref="LongestMessage"/>.</summary>
    public static string Fit(string message) => Clean(message, LongestMessage);

    /// <summary>
    /// Escapes characters that would change how a message is shown, and cuts the middle out of what is too long: control characters, line
    /// and paragraph
    /// separators, invisible format characters (bidirectional marks among them), and halves of surrogate pairs.
    /// </summary>
    /// <param name="text">The text.</param>
    /// <param name="longest">The most characters of the result.</param>
    public static string Clean(string text, int longest = LongestName)
    {
        if (text.Length <= longest && !text.AsSpan().ContainsAnyExcept(Plain))
            return text;
        // an escape is longer than what it stands for, so this much from either end is enough
        int half = (longest - Gap.Length) / 2;
        if (text.Length <= longest)
        {
            string whole = Escape(text);
            if (whole.Length <= longest)
                return whole;
        }

        string head = Escape(text.AsSpan(0, Math.Min(text.Length, half))), tail = Escape(text.AsSpan(Math.Max(text.Length - half, 0)));
        return KeepStart(head, half) + Gap + KeepEnd(tail, half);
    }

    private static readonly SearchValues<char> Plain = SearchValues.Create(
        [.. Enumerable.Range(char.MinValue, char.MaxValue + 1).Select(value => (char)value).Where(c => !IsEscaped(char.GetUnicodeCategory(c)))]);

    private static bool IsEscaped(UnicodeCategory category) => category is
        UnicodeCategory.Control or UnicodeCategory.Format or UnicodeCategory.LineSeparator or UnicodeCategory.ParagraphSeparator or
        UnicodeCategory.Surrogate;

    private static string Escape(ReadOnlySpan<char> text)
    {
        var clean = new StringBuilder();
        while (!text.IsEmpty)
        {
            bool whole = Rune.DecodeFromUtf16(text, out Rune rune, out int used) == OperationStatus.Done;
            if (whole && !IsEscaped(Rune.GetUnicodeCategory(rune)))
                clean.Append(text[..used]);
            else if (whole && used == 2)
                clean.Append(CultureInfo.InvariantCulture, $"\\U{rune.Value:x8}");
            else
                clean.Append(CultureInfo.InvariantCulture, $"\\u{(int)text[0]:x4}");
            text = text[used..];
        }

        return clean.ToString();
    }

    // a pair of surrogates is kept whole or not at all
    private static string KeepStart(string text, int length) =>
        text.Length <= length ? text : text[..(char.IsHighSurrogate(text[length - 1]) ? length - 1 : length)];

    private static string KeepEnd(string text, int length) =>
        text.Length <= length ? text : text[(text.Length - length + (char.IsLowSurrogate(text[^length]) ? 1 : 0))..];

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
