using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;

namespace FedICU.Cli.Comparing;

/// <summary>
/// Reads the metrics that an evaluation prints: a JSON object, lines of names with numbers, or one number.
/// </summary>
internal static partial class EvaluationOutput
{
    /// <summary>The name of a number that was printed without one.</summary>
    public const string Unnamed = "value";

    // chosen: more than a table can show
    private const int MostMetrics = 500;

    // characters of the longest name; chosen
    private const int LongestName = 200;

    /// <summary>Reads what was printed. Returns no metric if there is no number in it.</summary>
    public static OrderedDictionary<string, double> Read(string text)
    {
        var metrics = new OrderedDictionary<string, double>(StringComparer.Ordinal);
        string[] lines = [.. text.ReplaceLineEndings("\n").Split('\n').Select(line => line.TrimEnd())];
        int end = Array.FindLastIndex(lines, line => line.Length > 0);
        if (end < 0)
            return metrics;
        // programs print progress first, and the object in one line or in several
        int start = Array.FindLastIndex(lines, end, line => line.StartsWith('{'));
        if (start >= 0 && TryReadObject(string.Join('\n', lines[start..(end + 1)]), metrics))
            return metrics;
        ReadLines(lines, end, metrics);
        return metrics;
    }

    private static void ReadLines(string[] lines, int end, OrderedDictionary<string, double> metrics)
    {
        int start = end;
        while (start >= 0 && ReadPairs(lines[start]) is not null)
            start--;
        foreach ((string name, double value) in lines[(start + 1)..(end + 1)].SelectMany(line => ReadPairs(line)!))
            Add(metrics, name, value);
        if (metrics.Count == 0 && TryReadNumber(lines[end].Trim(), out double number))
            metrics[Unnamed] = number;
    }

    /// <summary>Reads <c>name: 0.9</c>, or several <c>name=0.9</c> on a line; null if it is anything else.</summary>
    private static List<(string Name, double Value)>? ReadPairs(string line)
    {
        int at = line.IndexOfAny([':', '=']);
        if (at > 0 && TryReadNumber(line[(at + 1)..].Trim(), out double single))
            return line[..at].Trim() is { Length: > 0 } only ? [(only, single)] : null;
        var pairs = new List<(string, double)>();
        MatchCollection matches = Pair().Matches(line);
        if (matches.Count == 0 || Pair().Replace(line, "").Trim([' ', '\t', ',', ';']).Length > 0)
            return null;
        foreach (Match match in matches)
        {
            if (!TryReadNumber(match.Groups["value"].Value, out double value))
                return null;
            pairs.Add((match.Groups["name"].Value, value));
        }

        return pairs;
    }

    private static bool TryReadObject(string text, OrderedDictionary<string, double> metrics)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(QuoteNames(text));
            AddObject(document.RootElement, "", metrics);
            return metrics.Count > 0;
        }
        catch (JsonException)
        {
            metrics.Clear();
            return false;
        }
    }

    private static void AddObject(JsonElement element, string prefix, OrderedDictionary<string, double> metrics)
    {
        foreach (JsonProperty property in element.EnumerateObject())
        {
            if (ReadText(() => property.Name) is not { } own)
                continue;
            string name = prefix + own;
            switch (property.Value.ValueKind)
            {
                case JsonValueKind.Object:
                    AddObject(property.Value, name + ".", metrics);
                    break;
                case JsonValueKind.Number:
                    // a number beyond the range of float64 is infinite, as everywhere
                    Add(metrics, name, property.Value.GetDouble());
                    break;
                case JsonValueKind.String when ReadText(property.Value.GetString) is { } text &&
                    NamedNumber().Match(text).Length == text.Length && TryReadNumber(text, out double value):
                    Add(metrics, name, value);
                    break;
            }
        }
    }

    /// <summary>Reads a name or a text of JSON; null if it has half a surrogate pair, which .NET refuses.</summary>
    private static string? ReadText(Func<string?> read)
    {
        try
        {
            return read();
        }
        catch (InvalidOperationException)
        {
            return null;
        }
    }

    private static void Add(OrderedDictionary<string, double> metrics, string name, double value)
    {
        name = name.Length <= LongestName ? name : name[..LongestName];
        if (metrics.Count < MostMetrics || metrics.ContainsKey(name))
            metrics[name] = value;
    }

    /// <summary>Quotes NaN and Infinity, which Python's json module prints although JSON has neither.</summary>
    private static string QuoteNames(string text)
    {
        var quoted = new StringBuilder(text.Length);
        bool isString = false;
        for (int i = 0; i < text.Length; i++)
        {
            if (text[i] == '"')
                isString = !isString;
            else if (isString && text[i] == '\\' && i + 1 < text.Length)
                quoted.Append(text[i++]);
            else if (!isString && NamedNumber().Match(text, i) is { Success: true } match && match.Index == i)
            {
                quoted.Append('"').Append(match.Value).Append('"');
                i += match.Length - 1;
                continue;
            }

            quoted.Append(text[i]);
        }

        return quoted.ToString();
    }

    private static bool TryReadNumber(string text, out double value)
    {
        switch (text.ToLowerInvariant())
        {
            case "nan" or "-nan" or "+nan":
                value = double.NaN;
                return true;
            case "inf" or "+inf" or "infinity" or "+infinity":
                value = double.PositiveInfinity;
                return true;
            case "-inf" or "-infinity":
                value = double.NegativeInfinity;
                return true;
            default:
                const NumberStyles Style =
                    NumberStyles.AllowLeadingSign | NumberStyles.AllowDecimalPoint | NumberStyles.AllowExponent;
                return double.TryParse(text, Style, CultureInfo.InvariantCulture, out value);
        }
    }

    [GeneratedRegex(@"\G(NaN|-?Infinity)")]
    private static partial Regex NamedNumber();

    [GeneratedRegex(@"(?<name>[^\s:=,;]+)[ \t]*[:=][ \t]*(?<value>[^\s:=,;]+)")]
    private static partial Regex Pair();
}
