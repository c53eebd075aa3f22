using System.Globalization;

namespace FedICU.Registry;

/// <summary>
/// Reads options by name, as <c>--set name=value</c> and configuration files have them, and collects every error until
/// <see cref="Finish"/> (docs/command-line.md).
/// </summary>
internal sealed class Settings
{
    private readonly Dictionary<string, string> _values = new(StringComparer.Ordinal);
    private readonly HashSet<string> _known = new(StringComparer.Ordinal);
    private readonly List<string> _errors = [];

    public Settings(IEnumerable<KeyValuePair<string, string>> values)
    {
        foreach ((string name, string value) in values)
        {
            if (!_values.TryAdd(name, value))
                _errors.Add($"Option '{name}' was given twice.");
        }
    }

    public double Number(string name, double defaultValue) =>
        Take(name) is not { } text ? defaultValue : ParseNumber(name, text, defaultValue);

    public long Integer(string name, long defaultValue) =>
        Take(name) is not { } text ? defaultValue : ParseInteger(name, text, defaultValue);

    public int? Count(string name, int? defaultValue)
    {
        if (Take(name) is not { } text)
            return defaultValue;
        if (int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int value))
            return value;
        _errors.Add($"Option '{name}' is '{text}'; a whole number was expected.");
        return defaultValue;
    }

    public bool Flag(string name, bool defaultValue) => Choice(name, defaultValue, ("false", false), ("true", true));

    public T Choice<T>(string name, T defaultValue, params ReadOnlySpan<(string Text, T Value)> choices)
    {
        if (Take(name) is not { } text)
            return defaultValue;
        foreach ((string choice, T value) in choices)
        {
            if (choice == text)
                return value;
        }

        var expected = new List<string>();
        foreach ((string choice, _) in choices)
            expected.Add(choice);
        _errors.Add($"Option '{name}' is '{text}'; {string.Join(" or ", expected)} was expected.");
        return defaultValue;
    }

    public string? Take(string name)
    {
        _known.Add(name);
        return _values.GetValueOrDefault(name);
    }

    public void Error(string sentence) => _errors.Add(sentence);

    public double ParseNumber(string name, string text, double defaultValue)
    {
        if (text == "inf")
            return double.PositiveInfinity;
        const NumberStyles Style = NumberStyles.AllowLeadingSign | NumberStyles.AllowDecimalPoint | NumberStyles.AllowExponent;
        if (double.TryParse(text, Style, CultureInfo.InvariantCulture, out double value))
            return value;
        _errors.Add($"Option '{name}' is '{text}'; a number was expected.");
        return defaultValue;
    }

    /// <summary>Adds the errors of unknown names and of the options' own rules.</summary>
    /// <exception cref="InvalidOptionsException">There are errors.</exception>
    public void Finish(params ReadOnlySpan<Action> validations)
    {
        foreach (string name in _values.Keys.Where(name => !_known.Contains(name)))
            _errors.Add($"Option '{name}' is unknown; {string.Join(", ", _known.Order(StringComparer.Ordinal))} are known here.");
        foreach (Action validate in validations)
        {
            try
            {
                validate();
            }
            catch (InvalidOptionsException e)
            {
                _errors.AddRange(e.Errors);
            }
        }

        if (_errors.Count > 0)
            throw new InvalidOptionsException(_errors);
    }

    private long ParseInteger(string name, string text, long defaultValue)
    {
        if (long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out long value))
            return value;
        _errors.Add($"Option '{name}' is '{text}'; a whole number was expected.");
        return defaultValue;
    }
}
