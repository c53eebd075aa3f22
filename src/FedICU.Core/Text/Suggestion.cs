namespace FedICU.Text;

/// <summary>Finds the known name that a mistyped one was meant to be.</summary>
internal static class Suggestion
{
    // characters; chosen above all names of strategies and options: the time grows with the square of the length
    private const int Longest = 64;

    // one difference is allowed for this many characters; chosen: "krm" for "krum", but not "tau" for "mu"
    private const int CharactersForOne = 3;

    /// <summary>
    /// Returns the question that comes after "is unknown;", with a space in front; nothing if no name is near.
    /// </summary>
    /// <param name="typed">The unknown name.</param>
    /// <param name="known">The known names.</param>
    public static string Ask(string typed, IEnumerable<string> known) =>
        FindNearest(typed, known) is { } name ? $" did you mean '{name}'?" : "";

    /// <summary>Finds the nearest name by the number of changed, added, missing and swapped characters.</summary>
    /// <returns>The name, the first of equally near ones; null if all are too different.</returns>
    public static string? FindNearest(string typed, IEnumerable<string> known)
    {
        if (typed.Length is 0 or > Longest)
            return null;
        (string? nearest, int least) = (null, Math.Max(1, typed.Length / CharactersForOne) + 1);
        foreach (string name in known.Where(name => name != typed && name.Length <= Longest).Order(StringComparer.Ordinal))
        {
            int distance = CountDifferences(typed, name);
            if (distance < least)
                (nearest, least) = (name, distance);
        }

        return nearest;
    }

    // the distance of Damerau and Levenshtein without repeated edits: three rows of its table at a time
    private static int CountDifferences(string a, string b)
    {
        int[] before = new int[b.Length + 1], row = [.. Enumerable.Range(0, b.Length + 1)], next = new int[b.Length + 1];
        for (int i = 1; i <= a.Length; i++)
        {
            next[0] = i;
            for (int j = 1; j <= b.Length; j++)
            {
                int replaced = row[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
                next[j] = Math.Min(replaced, Math.Min(row[j], next[j - 1]) + 1);
                if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                    next[j] = Math.Min(next[j], before[j - 2] + 1);
            }

            (before, row, next) = (row, next, before);
        }

        return row[b.Length];
    }
}
