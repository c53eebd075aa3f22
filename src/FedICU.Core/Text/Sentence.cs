using System.Buffers;
using System.Globalization;
using System.Text;
using System.Text.Json;

namespace FedICU.Text;

/// <summary>Builds parts of messages: names made safe to show, counts, and kinds of JSON values.</summary>
internal static class Sentence
{
    /// <summary>The longest message of an exception or a report, in characters; chosen.</summary>
    public const int LongestMessage = 1000;

    /// <summary>
    /// The fewest characters of a message that <see cref="Fit"/> has cut: rounding takes one, and at each end a
    /// surrogate pair that is not cut in two takes another.
    /// </summary>
    public const int ShortestCutMessage = LongestMessage - 3;

    // Characters, chosen. Names come from files and may have 100 MB or contain terminal escapes.
    private const int LongestName = 200;
    private const string Gap = "...";

    /// <summary>Returns the cleaned text in single quotes.</summary>
    public static string Quote(string text) => $"'{Clean(text)}'";

    /// <summary>Cleans a whole message and cuts it to <see cref="LongestMessage"/>.</summary>
    public static string Fit(string message) => Clean(message, LongestMessage);

    /// <summary>
    /// Escapes characters that would change how a message is displayed, and cuts the middle out of a text that is too
    /// long. Escaped are control characters, line and paragraph separators, invisible format characters (bidirectional
    /// marks among them), and unpaired surrogates.
    /// </summary>
    /// <param name="text">The text.</param>
    /// <param name="longest">The largest number of characters in the result.</param>
    public static string Clean(string text, int longest = LongestName)
    {
        if (text.Length <= longest && !text.AsSpan().ContainsAnyExcept(Plain))
            return text;
        // An escape is longer than the character it replaces, so this number of characters from either end is enough.
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
        [.. Enumerable.Range(char.MinValue, char.MaxValue + 1).Select(value => (char)value)
            .Where(c => !IsEscaped(char.GetUnicodeCategory(c)))]);

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

    // A surrogate pair is never cut in two.
    private static string KeepStart(string text, int length) =>
        text.Length <= length ? text : text[..(char.IsHighSurrogate(text[length - 1]) ? length - 1 : length)];

    private static string KeepEnd(string text, int length) =>
        text.Length <= length ? text : text[(text.Length - length + (char.IsLowSurrogate(text[^length]) ? 1 : 0))..];

    /// <summary>Returns the kind of a JSON value in words: <c>a number</c>.</summary>
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

    /// <summary>Returns a count with its noun, whose plural takes an s: <c>1 tensor</c>, <c>2 tensors</c>.</summary>
    public static string Count(long count, string noun) =>
        string.Create(CultureInfo.InvariantCulture, $"{count} {noun}{(count == 1 ? "" : "s")}");

    /// <summary>Joins alternatives: <c>polynomial, hinge or constant</c>.</summary>
    public static string Either(IReadOnlyList<string> words) =>
        words.Count < 2 ? string.Concat(words) : $"{string.Join(", ", words.SkipLast(1))} or {words[^1]}";

    /// <summary>Returns the form of a verb that fits a count.</summary>
    public static string Form(long count, string one, string many) => count == 1 ? one : many;

    /// <summary>
    /// Returns the subject of a message about non-finite values: <c>1 value that is NaN or infinite</c>.
    /// </summary>
    public static string NonFinite(long count) => $"{Count(count, "value")} that {Form(count, "is", "are")} NaN or infinite";

    /// <summary>Returns the kind of a JSON value in words: <c>a number</c>.</summary>
    public static string Kind(JsonValueKind kind) => kind switch
    {
        JsonValueKind.Object => "an object",
        JsonValueKind.Array => "an array",
        JsonValueKind.String => "a string",
        JsonValueKind.Number => "a number",
        JsonValueKind.True or JsonValueKind.False => "a boolean",
        JsonValueKind.Null => "null",
        _ => "nothing",
    };

    /// <summary>
    /// Determines whether the text can be written as UTF-8, which means that it has no unpaired surrogate.
    /// </summary>
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
