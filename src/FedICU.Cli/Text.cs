using System.Globalization;

namespace FedICU.Cli;

/// <summary>Formats names and numbers.</summary>
internal static class Text
{
    // characters of the longest message; the same limit as in the library's messages
    private const int LongestSentence = FedICU.Text.Sentence.LongestMessage;

    /// <summary>
    /// Escapes control characters and puts the text on one line: names come from files and may contain terminal
    /// escapes.
    /// </summary>
    public static string Clean(string text) => FedICU.Text.Sentence.Clean(text, int.MaxValue);

    /// <summary>Puts a sentence on one line and truncates it if a typed name makes it very long.</summary>
    public static string Sentence(string text) => FedICU.Text.Sentence.Clean(text, LongestSentence);

    /// <summary>Formats a client's weight with nine digits, so that numbers of examples appear in full.</summary>
    public static string Weight(double value) => value.ToString("G9", CultureInfo.InvariantCulture);

    /// <summary>
    /// Formats a number with six digits. Fractions keep trailing zeros, so that columns align. Null is a dash.
    /// </summary>
    public static string Number(double? value)
    {
        string text = value?.ToString("G6", CultureInfo.InvariantCulture) ?? "-";
        if (!text.Contains('.') || text.Contains('E'))
            return text;
        int digits = text.TrimStart('-', '0', '.').Count(char.IsDigit);
        return text + new string('0', 6 - digits);
    }

    /// <summary>Formats a number with two digits after the point.</summary>
    public static string Fixed(double value) => value.ToString("F2", CultureInfo.InvariantCulture);

    public static string Count(long? value) => value?.ToString(CultureInfo.InvariantCulture) ?? "-";

    /// <summary>Formats a count with its noun, which takes an s in the plural.</summary>
    public static string Count(long count, string noun) => FedICU.Text.Sentence.Count(count, noun);

    public static string Percent(double? share) => share?.ToString("P1", CultureInfo.InvariantCulture) ?? "-";

    /// <summary>Formats a number of bytes in the largest unit that gives a number of at least one.</summary>
    public static string Bytes(long bytes)
    {
        ReadOnlySpan<string> units = ["KiB", "MiB", "GiB", "TiB"];
        double size = bytes;
        string unit = "";
        for (int i = 0; i < units.Length && size >= 1024; i++)
            (size, unit) = (size / 1024, units[i]);
        return bytes < 1024 ? Count(bytes, "byte") : string.Create(CultureInfo.InvariantCulture, $"{size:0.00} {unit}");
    }
}
