using System.Globalization;
using FedICU.Strategies.Abstractions;
using FedICU.Text;

namespace FedICU;

/// <summary>
/// Reads the options of a strategy by name, as <c>--set name=value</c> and configuration files have them. The same
/// calls describe the options for help texts. Errors are collected; the strategy is not created if there are any.
/// </summary>
public sealed class OptionReader
{
    private readonly Dictionary<string, string> _values = new(StringComparer.Ordinal);
    private readonly HashSet<string> _taken = new(StringComparer.Ordinal);
    private readonly List<string> _errors = [];
    private readonly List<OptionDescription> _options = [];

    // options whose values could not be read, each with its strategy: they have their one error already
    private readonly HashSet<(string? Strategy, string Name)> _unread = [];

    // of the strategy that is being read: the names that it shares with another one, and the prefix that distinguishes
    // them
    private HashSet<string> _shared = [];
    private string? _prefix;
    private bool _yields;

    internal OptionReader(IEnumerable<KeyValuePair<string, string>> values)
    {
        foreach ((string name, string value) in values)
        {
            if (!_values.TryAdd(name, value))
                _errors.Add($"Option '{name}' was given twice.");
        }
    }

    /// <summary>Gets the options that were read, in the order of reading.</summary>
    internal IReadOnlyList<OptionDescription> Options => _options;

    /// <summary>Reads a number; <c>inf</c> is infinity.</summary>
    /// <param name="name">The option's name.</param>
    /// <param name="defaultValue">The value without the option.</param>
    /// <param name="summary">What the option does, in one sentence.</param>
    public double Number(string name, double defaultValue, string summary)
    {
        Describe(name, "number", Format(defaultValue), summary);
        return Take(name) is not { } text ? defaultValue : ParseNumber(name, text, defaultValue);
    }

    /// <summary>Reads a number without a default; null if it is missing or cannot be read.</summary>
    internal double? RequiredNumber(string name, string summary)
    {
        Describe(name, "number", OptionDescription.Required, summary);
        return Take(name) is not { } text ? null : TryParseNumber(name, text, "a number");
    }

    /// <summary>Reads a whole number without a default; null if it is missing or cannot be read.</summary>
    internal long? RequiredInteger(string name, string summary)
    {
        Describe(name, "whole number", OptionDescription.Required, summary);
        return Take(name) is not { } text ? null : ParseInteger(name, text, "a whole number");
    }

    /// <summary>Reads a number, or a word that stands for a default that depends on the round.</summary>
    /// <param name="name">The option's name.</param>
    /// <param name="defaultValue">The value without the option; null: the word.</param>
    /// <param name="word">The word: <c>auto</c>.</param>
    /// <param name="summary">What the option does, in one sentence.</param>
    public double? NumberOr(string name, double? defaultValue, string word, string summary)
    {
        Describe(name, $"{word}, number", defaultValue is { } number ? Format(number) : word, summary);
        string? text = Take(name);
        if (text is null || text == word)
            return text is null ? defaultValue : null;
        return TryParseNumber(name, text, $"{word} or a number") ?? defaultValue;
    }

    /// <summary>Reads a whole number.</summary>
    /// <param name="name">The option's name.</param>
    /// <param name="defaultValue">The value without the option.</param>
    /// <param name="summary">What the option does, in one sentence.</param>
    public long Integer(string name, long defaultValue, string summary)
    {
        Describe(name, "whole number", defaultValue.ToString(CultureInfo.InvariantCulture), summary);
        return Take(name) is not { } text ? defaultValue : ParseInteger(name, text, "a whole number") ?? defaultValue;
    }

    /// <summary>Reads a whole number, or a word that stands for a default that depends on the round.</summary>
    /// <param name="name">The option's name.</param>
    /// <param name="defaultValue">The value without the option; null: the word.</param>
    /// <param name="word">The word: <c>auto</c>.</param>
    /// <param name="summary">What the option does, in one sentence.</param>
    public int? CountOr(string name, int? defaultValue, string word, string summary)
    {
        Describe(name, $"{word}, whole number", defaultValue?.ToString(CultureInfo.InvariantCulture) ?? word, summary);
        string? text = Take(name);
        if (text is null || text == word)
            return text is null ? defaultValue : null;
        long? value = ParseInteger(name, text, $"{word} or a whole number");
        if (value is >= int.MinValue and <= int.MaxValue)
            return (int)value;
        if (value is not null)
            AddUnread(name, text, $"{word} or a whole number below 2^31");
        return defaultValue;
    }

    /// <summary>Reads a whole number of 64 bits, or a word that stands for none.</summary>
    internal long? IntegerOr(string name, string word, string summary)
    {
        Describe(name, $"{word}, whole number", word, summary);
        string? text = Take(name);
        return text is null || text == word ? null : ParseInteger(name, text, $"{word} or a whole number");
    }

    /// <summary>Reads true or false.</summary>
    /// <param name="name">The option's name.</param>
    /// <param name="defaultValue">The value without the option.</param>
    /// <param name="summary">What the option does, in one sentence.</param>
    public bool Flag(string name, bool defaultValue, string summary) =>
        Choice(name, defaultValue, summary, ("false", false), ("true", true));

    /// <summary>Reads one of several words.</summary>
    /// <typeparam name="T">The type of the choices.</typeparam>
    /// <param name="name">The option's name.</param>
    /// <param name="defaultValue">The value without the option.</param>
    /// <param name="summary">What the option does, in one sentence.</param>
    /// <param name="choices">The words with their values.</param>
    public T Choice<T>(string name, T defaultValue, string summary, params ReadOnlySpan<(string Text, T Value)> choices)
    {
        var words = new List<string>();
        string otherwise = "none";
        foreach ((string word, T value) in choices)
        {
            words.Add(word);
            if (EqualityComparer<T>.Default.Equals(value, defaultValue))
                otherwise = word;
        }

        Describe(name, string.Join(", ", words), otherwise, summary);
        if (Take(name) is not { } text)
            return defaultValue;
        foreach ((string word, T value) in choices)
        {
            if (word == text)
                return value;
        }

        AddUnread(name, text, Sentence.Either(words));
        return defaultValue;
    }

    /// <summary>Reads any text.</summary>
    /// <param name="name">The option's name.</param>
    /// <param name="values">The values it takes: <c>file</c>.</param>
    /// <param name="summary">What the option does, in one sentence.</param>
    /// <returns>The text; null without the option.</returns>
    public string? Text(string name, string values, string summary) => Text(name, values, "none", summary);

    /// <summary>Reads any text; the default is one of the values, or says that there is none.</summary>
    internal string? Text(string name, string values, string otherwise, string summary)
    {
        Describe(name, values, otherwise, summary);
        return Take(name);
    }

    /// <summary>Adds an error of a value that the reader's methods cannot check.</summary>
    /// <param name="sentence">The option, its value, and what was expected.</param>
    public void Error(string sentence) => _errors.Add(sentence);

    internal double ParseNumber(string name, string text, double defaultValue, string expected = "a number") =>
        TryParseNumber(name, text, expected) ?? defaultValue;

    /// <summary>
    /// Refuses an option that was given but that the other options leave without effect. Its default may be given, as
    /// in a list of all options.
    /// </summary>
    /// <param name="name">The option's name.</param>
    /// <param name="hasEffect">Whether it has an effect.</param>
    /// <param name="reason">Names the other option: <c>without adaptive-clip=true</c>.</param>
    /// <param name="refusesDefault">Whether its default is refused too, because something else happens.</param>
    internal void RefuseUnused(string name, bool hasEffect, string reason, bool refusesDefault = false)
    {
        string sentence = OptionErrors.DescribeUnused(name, reason);
        bool isRefused = Given(name) is { } text && (refusesDefault || _options.Last(option => option.Name == name).Default != text);
        if (!hasEffect && isRefused && !NamesUnread(sentence, _prefix))
            _errors.Add(sentence);
    }

    /// <summary>Begins the options of a strategy among several.</summary>
    /// <param name="prefix">Its name; null for the round's own options.</param>
    /// <param name="shared">The names that another strategy has too.</param>
    /// <param name="yields">Whether a shared name without a prefix is the other strategy's.</param>
    internal void Begin(string? prefix, IEnumerable<string> shared, bool yields = false) =>
        (_prefix, _shared, _yields) = (prefix, shared.ToHashSet(StringComparer.Ordinal), yields);

    /// <summary>Collects the errors of an action.</summary>
    /// <param name="action">The action.</param>
    /// <param name="strategy">The strategy whose options it checks; null for the round's own options.</param>
    /// <param name="prefix">Comes before each error.</param>
    /// <returns>Whether there were none.</returns>
    internal bool Try(Action action, string? strategy = null, string prefix = "")
    {
        try
        {
            action();
            return true;
        }
        catch (InvalidOptionsException e)
        {
            // a value that could not be read was replaced, so that an error which names it may be false
            _errors.AddRange(e.Errors.Where(error => !NamesUnread(error, strategy)).Select(error => prefix + error));
            return false;
        }
    }

    /// <summary>Adds the errors of unknown names.</summary>
    /// <exception cref="InvalidOptionsException">There are errors.</exception>
    internal void Finish()
    {
        string[] known = [.. _options.Select(option => option.Name).Distinct().Order(StringComparer.Ordinal)];
        foreach (string name in _values.Keys.Where(name => !_taken.Contains(name)))
        {
            // the strategy before the dot is kept: krum.byzantien
            string prefix = name[..(name.LastIndexOf('.') + 1)];
            string question = Suggestion.Ask(name, known.Select(option => prefix + option));
            _errors.Insert(0, $"Option '{name}' is unknown;{question} {string.Join(", ", known)} are known here.");
        }

        if (_errors.Count > 0)
            throw new InvalidOptionsException(_errors);
    }

    private static string Format(double value) => double.IsPositiveInfinity(value) ? "inf" : Numbers.Invariant(value);

    private string? Given(string name) => _values.TryGetValue($"{_prefix}.{name}", out string? value)
        || !_shared.Contains(name) && _values.TryGetValue(name, out value) ? value : null;

    private bool NamesUnread(string sentence, string? strategy)
    {
        string[] words = sentence.Split([' ', ',', ';', '.', ':', '\'', '='], StringSplitOptions.RemoveEmptyEntries);
        return _unread.Any(option => option.Strategy == strategy && words.Contains(option.Name));
    }

    private void AddUnread(string name, string text, string expected)
    {
        _unread.Add((_prefix, name));
        _errors.Add($"Option '{name}' is '{text}'; {expected} was expected.");
    }

    private double? TryParseNumber(string name, string text, string expected)
    {
        if (text == "inf")
            return double.PositiveInfinity;
        const NumberStyles Style = NumberStyles.AllowLeadingSign | NumberStyles.AllowDecimalPoint | NumberStyles.AllowExponent;
        if (double.TryParse(text, Style, CultureInfo.InvariantCulture, out double value))
            return value;
        AddUnread(name, text, expected);
        return null;
    }

    private void Describe(string name, string values, string otherwise, string summary) =>
        _options.Add(new OptionDescription(name, values, otherwise, summary));

    private string? Take(string name)
    {
        string qualified = $"{_prefix}.{name}";
        bool isShared = _shared.Contains(name);
        if (isShared && !_yields && _values.ContainsKey(name) && _taken.Add(name))
            _errors.Add($"Option '{name}' belongs to several stages; '{qualified}' says which one it is for.");
        if (_prefix is not null && _values.TryGetValue(qualified, out string? value))
        {
            _taken.Add(qualified);
            if (!isShared && _values.ContainsKey(name) && _taken.Add(name))
                _errors.Add($"Option '{name}' was given twice, as '{name}' and as '{qualified}'.");
            return value;
        }

        if (isShared || !_values.TryGetValue(name, out value))
            return null;
        _taken.Add(name);
        return value;
    }

    internal long? ParseInteger(string name, string text, string expected)
    {
        if (long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out long value))
            return value;
        AddUnread(name, text, expected);
        return null;
    }
}
