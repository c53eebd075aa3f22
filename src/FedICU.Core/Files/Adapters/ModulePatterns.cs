using System.Buffers;
using System.Text.RegularExpressions;

namespace FedICU.Files.Adapters;

/// <summary>
/// Values for modules, selected by patterns as PEFT's get_pattern_key does. The first pattern for which
/// (.*\.)?(pattern)$ matches the whole module name gives the value. Patterns come from clients, so they are matched in
/// linear time.
/// </summary>
internal sealed class ModulePatterns<T>(IReadOnlyList<KeyValuePair<string, T>> entries) where T : struct
{
    private static readonly SearchValues<char> PlainCharacters =
        SearchValues.Create("._-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz");

    // Null for a pattern of plain text, in which a dot matches any character.
    private readonly Lazy<Regex?[]?> _expressions = new(() => Compile(entries));

    /// <summary>
    /// Finds the value for a module, null if no pattern matches. Returns false if a pattern cannot be read.
    /// </summary>
    public bool TryFind(string module, out T? value)
    {
        value = null;
        if (_expressions.Value is not { } expressions)
            return false;
        for (int i = 0; i < entries.Count; i++)
        {
            if (expressions[i] is { } expression ? expression.IsMatch(module) : EndsWith(module, entries[i].Key))
            {
                value = entries[i].Value;
                break;
            }
        }

        return true;
    }

    private static Regex?[]? Compile(IReadOnlyList<KeyValuePair<string, T>> entries)
    {
        try
        {
            const RegexOptions Linear = RegexOptions.NonBacktracking | RegexOptions.CultureInvariant;
            return [.. entries.Select(entry => IsPlain(entry.Key) ? null : new Regex($"^(.*\\.)?({entry.Key})$", Linear))];
        }
        catch (Exception e) when (e is ArgumentException or NotSupportedException)
        {
            return null;
        }
    }

    private static bool IsPlain(string pattern) => !pattern.AsSpan().ContainsAnyExcept(PlainCharacters);

    private static bool EndsWith(string module, string pattern)
    {
        int start = module.Length - pattern.Length;
        if (start < 0 || start > 0 && module[start - 1] != '.')
            return false;
        for (int i = pattern.Length - 1; i >= 0; i--)
        {
            if (pattern[i] != '.' && pattern[i] != module[start + i])
                return false;
        }

        return true;
    }
}
