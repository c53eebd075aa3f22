using System.Globalization;
using Microsoft.Extensions.Configuration;

namespace FedICU.Extensions;

/// <summary>
/// Reads the values of a section of the configuration. .NET's own binder ignores unknown names, so a misspelt option
/// would have no effect.
/// </summary>
/// <param name="faults">Receives a sentence for each value that cannot be read.</param>
internal sealed class SectionReader(List<string> faults)
{
    /// <summary>Reads each option of a section by the action of its name, and refuses all others.</summary>
    /// <param name="section">The section.</param>
    /// <param name="options">The known names; their case makes no difference.</param>
    public void ReadAll(IConfiguration section, (string Name, Action<IConfigurationSection> Read)[] options)
    {
        foreach (IConfigurationSection child in section.GetChildren())
        {
            if (Array.Find(options, option => option.Name.Equals(child.Key, StringComparison.OrdinalIgnoreCase)).Read is { } read)
                read(child);
            else
                faults.Add($"Option '{child.Path}' is unknown; {string.Join(", ", options.Select(option => option.Name))} are known here.");
        }
    }

    public string? Text(IConfigurationSection option)
    {
        if (option.GetChildren().Any())
        {
            faults.Add($"Option '{option.Path}' is a section; a value was expected.");
            return null;
        }

        // .NET's JSON configuration provider turns the literals into True and False
        return option.Value switch { "True" => "true", "False" => "false", var text => text };
    }

    public int? WholeNumber(IConfigurationSection option) => Parse<int>(option, "a whole number", text =>
        int.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out int value) ? value : null);

    public long? LongNumber(IConfigurationSection option) => Parse<long>(option, "a whole number", text =>
        long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out long value) ? value : null);

    public bool? Boolean(IConfigurationSection option) => Parse<bool>(
        option, "false or true", text => text switch { "true" => true, "false" => false, _ => null });

    public TimeSpan? Time(IConfigurationSection option) => Parse<TimeSpan>(option, "a time such as 02:00:00", text =>
        TimeSpan.TryParse(text, CultureInfo.InvariantCulture, out TimeSpan value) ? value : null);

    private T? Parse<T>(IConfigurationSection option, string expected, Func<string, T?> parse)
        where T : struct
    {
        if (Text(option) is not { } text)
            return null;
        T? value = parse(text);
        if (value is null)
            faults.Add($"Option '{option.Path}' is '{text}'; {expected} was expected.");
        return value;
    }
}
