using System.Globalization;

namespace FedICU.Cli;

/// <summary>How names and numbers are shown.</summary>
internal static class Text
{
    // as the library's own messages
    private const int LongestSentence = 1000;

    /// <summary>The text on one line: names come from files and may hold terminal escapes or line ends.</summary>
    public static string Clean(string text) => FedICU.Text.Sentence.Clean(text, int.MaxValue);

    /// <summary>A sentence on one line, cut where a name that was typed makes it very long.</summary>
    public static string Sentence(string text) => FedICU.Text.Sentence.Clean(text, LongestSentence);

    /// <summary>A client's weight: numbers of examples in full.</summary>
    public static string Weight(double value) => value.ToString("G9", CultureInfo.InvariantCulture);

    /// <summary>Six digits, of fractions trailing zeros too, so that a column's are even; a dash where there is nothing to show.</summary>
    public static string Number(double? value)
    {
        string text = value?.ToString("G6", CultureInfo.InvariantCulture) ?? "-";
        if (!text.Contains('.') || text.Contains('E'))
            return text;
        int digits = text.TrimStart('-', '0', '.').Count(char.IsDigit);
        return text + new string('0', 6 - digits);
    }

    /// <summary>Two digits after the point.</summary>
    public static string Fixed(double value) => value.ToString("F2", CultureInfo.InvariantCulture);

    public static string Count(long? value) => value?.ToString(CultureInfo.InvariantCulture) ?? "-";

    /// <summary>A count of things whose plural takes an s.</summary>
    public static string Count(long count, string noun) => FedICU.Text.Sentence.Count(count, noun);

    public static string Percent(double? share) => share?.ToString("P1", CultureInfo.InvariantCulture) ?? "-";

    /// <summary>Bytes in the largest unit that leaves a number of at least one.</summary>
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
