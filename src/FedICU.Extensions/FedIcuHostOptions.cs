using System.Globalization;
using FedICU.Registry;
using Microsoft.Extensions.Configuration;

namespace FedICU.Extensions;

/// <summary>An aggregator and its rounds as a host's configuration names them: the names and values are those of the command line.</summary>
public sealed class FedIcuHostOptions
{
    /// <summary>The strategy, one of <see cref="AggregatorCatalog.Names"/>; required, for a section that is missing must not pass for one.</summary>
    public string? Strategy { get; set; }

    /// <summary>Options by name, the strategy's and the round's, as <c>--set</c> takes them (docs/command-line.md, Options for --set).</summary>
    public IDictionary<string, string> Settings { get; } = new Dictionary<string, string>(StringComparer.Ordinal);

    /// <summary>
    /// What computes: the key of a keyed <see cref="Compute.IComputeBackend"/> service, <c>simd</c>, <c>reference</c>, or the <see cref="Compute.IComputeBackend.Name"/> of
    /// a service. <value>Default: null, the <see cref="Compute.IComputeBackend"/> service where there is one, otherwise simd.</value>
    /// </summary>
    public string? Backend { get; set; }

    /// <summary>How many threads compute; no effect on the result. <value>Default: 0, one for each processor.</value></summary>
    public int Threads { get; set; }

    /// <summary>The type of the output's computed tensors: <c>f32</c>, <c>f16</c>, <c>bf16</c> or <c>f64</c>. <value>Default: null, the global model's.</value></summary>
    public string? DType { get; set; }

    /// <summary>Whether norms, cosines and LoRA cross-terms are computed for the report. <value>Default: false.</value></summary>
    public bool Statistics { get; set; }

    /// <summary>What could not be read of the configuration, a sentence each: told with all else when the options are validated.</summary>
    internal List<string> Faults { get; } = [];

    /// <summary>Takes what a section says. Not the binder of the platform: it passes over names that it does not know, and a misspelt policy would be none.</summary>
    internal void Read(IConfiguration section)
    {
        foreach (IConfigurationSection child in section.GetChildren())
        {
            if (Is(child, nameof(Settings)))
                ReadSettings(child);
            else if (Is(child, nameof(Strategy)))
                Strategy = Text(child) ?? Strategy;
            else if (Is(child, nameof(Backend)))
                Backend = Text(child) ?? Backend;
            else if (Is(child, nameof(DType)))
                DType = Text(child) ?? DType;
            else if (Is(child, nameof(Threads)))
                Threads = Take(child, "a whole number", Threads, text => int.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out int value) ? value : null);
            else if (Is(child, nameof(Statistics)))
                Statistics = Take<bool>(child, "false or true", Statistics, text => text is "true" ? true : text is "false" ? false : null);
            else
                Faults.Add($"Option '{child.Path}' is unknown; {nameof(Strategy)}, {nameof(Settings)}, {nameof(Backend)}, {nameof(Threads)}, {nameof(DType)}, {nameof(Statistics)} are known here.");
        }
    }

    private void ReadSettings(IConfigurationSection settings)
    {
        if (settings.Value is { Length: > 0 } text)
            Faults.Add($"Option '{settings.Path}' is '{text}'; a section of names and values was expected.");
        foreach (IConfigurationSection setting in settings.GetChildren())
        {
            if (Text(setting) is { } value)
                Settings[setting.Key] = value;
        }
    }

    private static bool Is(IConfigurationSection option, string name) => option.Key.Equals(name, StringComparison.OrdinalIgnoreCase);

    private T Take<T>(IConfigurationSection option, string expected, T otherwise, Func<string, T?> parse)
        where T : struct
    {
        if (Text(option) is not { } text)
            return otherwise;
        if (parse(text) is { } value)
            return value;
        Faults.Add($"Option '{option.Path}' is '{text}'; {expected} was expected.");
        return otherwise;
    }

    private string? Text(IConfigurationSection option)
    {
        if (option.GetChildren().Any())
        {
            Faults.Add($"Option '{option.Path}' is a section; a value was expected.");
            return null;
        }

        // the platform's reader of JSON hands the literals on as True and False
        return option.Value switch { "True" => "true", "False" => "false", var text => text };
    }
}
