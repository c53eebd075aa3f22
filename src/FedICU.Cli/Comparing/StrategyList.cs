using System.Text;

namespace FedICU.Cli.Comparing;

/// <summary>
/// Reads the strategies of a comparison, such as <c>fedavg,krum+fedadam,fedicu:tau=0.1|0.5:similarity=mean</c>. An
/// option with several values is a sweep; several sweeps give every combination.
/// </summary>
internal static class StrategyList
{
    /// <summary>Joins the strategies of a chain. A comma, as in --strategy, separates runs here.</summary>
    public const char Join = '+';

    // chosen: a folder and a line of the table for each run
    private const int MostRuns = 1000;

    private const char BetweenRuns = ',';
    private const char BeforeOption = ':';
    private const char BetweenValues = '|';
    private const char Escape = '\\';

    /// <summary>Reads the values of <c>--strategies</c>. Adds a sentence for each fault that it finds.</summary>
    public static List<ComparedStrategy> Read(IEnumerable<string> texts, List<string> errors)
    {
        var runs = new List<ComparedStrategy>();
        foreach (string entry in texts.SelectMany(text => Split(text, BetweenRuns)))
        {
            foreach (ComparedStrategy run in ReadEntry(entry, errors))
            {
                if (runs.Exists(other => other.Name == run.Name))
                    errors.Add($"--strategies gives '{run.Name}' twice.");
                else
                    runs.Add(run);
                if (runs.Count > MostRuns)
                {
                    errors.Add($"--strategies gives more than {MostRuns} runs.");
                    return runs;
                }
            }
        }

        return runs;
    }

    private static IEnumerable<ComparedStrategy> ReadEntry(string entry, List<string> errors)
    {
        List<string> parts = Split(entry, BeforeOption);
        string chain = Unescape(parts[0]).Trim().Replace(Join, ',');
        var sweeps = new List<(string Name, List<string> Values)>();
        foreach (string part in parts[1..])
        {
            int at = part.IndexOf('=', StringComparison.Ordinal);
            if (at <= 0)
            {
                errors.Add($"--strategies has '{part}' in '{entry}'; NAME=VALUE or NAME=VALUE|VALUE was expected after each ':'.");
                return [];
            }

            sweeps.Add((part[..at].Trim(), [.. Split(part[(at + 1)..], BetweenValues).Select(Unescape)]));
        }

        return Combine(chain, sweeps);
    }

    /// <summary>Makes a run of each combination of values, the last option's values changing fastest.</summary>
    private static IEnumerable<ComparedStrategy> Combine(string chain, List<(string Name, List<string> Values)> sweeps)
    {
        IEnumerable<KeyValuePair<string, string>[]> all = [[]];
        foreach ((string name, List<string> values) in sweeps)
            all = all.SelectMany(_ => values, (settings, value) => (KeyValuePair<string, string>[])[.. settings, new(name, value)]);
        return all.Select(settings => new ComparedStrategy(chain, settings));
    }

    /// <summary>Splits a text at a separator. A backslash before any separator makes it part of the text.</summary>
    private static List<string> Split(string text, char separator)
    {
        var parts = new List<string>();
        int start = 0;
        for (int i = 0; i < text.Length; i++)
        {
            if (IsEscape(text, i))
                i++;
            else if (text[i] == separator)
            {
                parts.Add(text[start..i]);
                start = i + 1;
            }
        }

        parts.Add(text[start..]);
        return parts;
    }

    private static string Unescape(string text)
    {
        var plain = new StringBuilder();
        for (int i = 0; i < text.Length; i++)
            plain.Append(text[IsEscape(text, i) ? ++i : i]);
        return plain.ToString();
    }

    // any other backslash is part of a path
    private static bool IsEscape(string text, int at) =>
        text[at] == Escape && at + 1 < text.Length && text[at + 1] is BetweenRuns or BeforeOption or BetweenValues;
}
