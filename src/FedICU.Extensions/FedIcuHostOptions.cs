using FedICU.Registry;
using Microsoft.Extensions.Configuration;

namespace FedICU.Extensions;

/// <summary>
/// The configuration of an aggregator and its rounds in a host. The names and values are those of the command line.
/// </summary>
public sealed class FedIcuHostOptions
{
    /// <summary>
    /// Gets or sets the strategy, one of <see cref="StrategyRegistry.Names"/>, or several joined by commas in the order
    /// of their stages: <c>krum,fedadam</c>. It is required, so that a missing section is an error.
    /// </summary>
    public string? Strategy { get; set; }

    /// <summary>
    /// Gets the strategy's and the round's options by name, as <c>--set</c> takes them (docs/command-line.md, Options
    /// for --set).
    /// </summary>
    public IDictionary<string, string> Settings { get; } = new Dictionary<string, string>(StringComparer.Ordinal);

    /// <summary>
    /// Gets or sets the file in which a rule such as <c>fedadam</c> keeps its state between rounds; it is replaced with
    /// each new model. Only rules that keep a state may have one. <value>Default: null, the state is kept in memory and
    /// lost when the host stops.</value>
    /// </summary>
    public string? State { get; set; }

    /// <summary>
    /// Gets or sets the backend: the key of a keyed <see cref="Compute.IComputeBackend"/> service, <c>simd</c>,
    /// <c>reference</c>, or the <see cref="Compute.IComputeBackend.Name"/> of a service.
    /// <value>Default: null, the <see cref="Compute.IComputeBackend"/> service if there is one, otherwise simd.</value>
    /// </summary>
    public string? Backend { get; set; }

    /// <summary>
    /// Gets or sets the number of threads that compute. It has no effect on the result. <value>Default: 0, one for each
    /// CPU.</value>
    /// </summary>
    public int Threads { get; set; }

    /// <summary>
    /// Gets or sets the type of the output's computed tensors: <c>f32</c>, <c>f16</c>, <c>bf16</c> or <c>f64</c>.
    /// <value>Default: null, the global model's type.</value>
    /// </summary>
    public string? DType { get; set; }

    /// <summary>
    /// Gets or sets whether norms, cosines and LoRA cross-terms are computed for the report. <value>Default:
    /// false.</value>
    /// </summary>
    public bool Statistics { get; set; }

    /// <summary>
    /// Gets the errors found while reading the configuration, one sentence each. Validation reports them with all
    /// others.
    /// </summary>
    internal List<string> Faults { get; } = [];

    /// <summary>
    /// Reads a section of the configuration. .NET's own binder ignores unknown names, so a misspelt policy would have
    /// no effect.
    /// </summary>
    internal void Read(IConfiguration section)
    {
        var reader = new SectionReader(Faults);
        reader.ReadAll(section,
        [
            (nameof(Strategy), option => Strategy = reader.Text(option) ?? Strategy),
            (nameof(Settings), option => ReadSettings(option, reader)),
            (nameof(State), option => State = reader.Text(option) ?? State),
            (nameof(Backend), option => Backend = reader.Text(option) ?? Backend),
            (nameof(Threads), option => Threads = reader.WholeNumber(option) ?? Threads),
            (nameof(DType), option => DType = reader.Text(option) ?? DType),
            (nameof(Statistics), option => Statistics = reader.Boolean(option) ?? Statistics),
        ]);
    }

    private void ReadSettings(IConfigurationSection settings, SectionReader reader)
    {
        if (settings.Value is { Length: > 0 } text)
            Faults.Add($"Option '{settings.Path}' is '{text}'; a section of names and values was expected.");
        foreach (IConfigurationSection setting in settings.GetChildren())
        {
            if (reader.Text(setting) is { } value)
                Settings[setting.Key] = value;
        }
    }
}
