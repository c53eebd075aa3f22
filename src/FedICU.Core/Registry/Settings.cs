using System.Globalization;

namespace FedICU.Registry;

/// <summary>Options by name, as <c>--set name=value</c> and configuration files give them; collects every error before it speaks (docs/command-line.md).</summary>
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

    public double Number(string name, double otherwise) => Take(name) is not { } text ? otherwise : ParseNumber(name, text, otherwise);

    public long Integer(string name, long otherwise) => Take(name) is not { } text ? otherwise : ParseInteger(name, text, otherwise);

    public int? Count(string name, int? otherwise)
    {
        if (Take(name) is not { } text)
            return otherwise;
        if (int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int value))
            return value;
        _errors.Add($"Option '{name}' is '{text}'; a whole number was expected.");
        return otherwise;
    }

    public bool Flag(string name, bool otherwise) => Choice(name, otherwise, ("false", false), ("true", true));

    public T Choice<T>(string name, T otherwise, params ReadOnlySpan<(string Text, T Value)> choices)
    {
        if (Take(name) is not { } text)
            return otherwise;
        foreach ((string choice, T value) in choices)
        {
            if (choice == text)
                return value;
        }

        var expected = new List<string>();
        foreach ((string choice, _) in choices)
            expected.Add(choice);
        _errors.Add($"Option '{name}' is '{text}'; {string.Join(" or ", expected)} was expected.");
        return otherwise;
    }

    public string? Take(string name)
    {
        _known.Add(name);
        return _values.GetValueOrDefault(name);
    }

    public void Error(string sentence) => _errors.Add(sentence);

    public double ParseNumber(string name, string text, double otherwise)
    {
        if (text == "inf")
            return double.PositiveInfinity;
        if (double.TryParse(text, NumberStyles.AllowLeadingSign | NumberStyles.AllowDecimalPoint | NumberStyles.AllowExponent, CultureInfo.InvariantCulture, out double value))
            return value;
        _errors.Add($"Option '{name}' is '{text}'; a number was expected.");
        return otherwise;
    }

    /// <summary>Adds what the options' own rules say, then throws where anything is wrong.</summary>
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

    private long ParseInteger(string name, string text, long otherwise)
    {
        if (long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out long value))
            return value;
        _errors.Add($"Option '{name}' is '{text}'; a whole number was expected.");
        return otherwise;
    }
}
