namespace FedICU.Reports;

/// <summary>
/// A run of a comparison: a strategy with its options, what its round took, and how its model was evaluated.
/// </summary>
/// <param name="Name">The run's name, such as <c>fedicu tau=0.5</c>.</param>
public sealed record ComparedRun(string Name)
{
    /// <summary>Gets the strategy; null for the global model, which no round made.</summary>
    public string? Strategy { get; init; }

    /// <summary>Gets the options by which the run differs from others, in their order.</summary>
    public IReadOnlyList<KeyValuePair<string, string>> Options { get; init; } = [];

    /// <summary>Gets the metrics of the evaluation. They may be NaN or infinite.</summary>
    public IReadOnlyDictionary<string, double> Metrics { get; init; } = new Dictionary<string, double>();

    /// <summary>Gets the time of the round; null if there was none.</summary>
    public double? Seconds { get; init; }

    /// <summary>Gets the time of the evaluation; null without one.</summary>
    public double? EvaluationSeconds { get; init; }

    /// <summary>Gets the most memory that the round's process had in use; null if it is not known.</summary>
    public long? PeakMemoryBytes { get; init; }

    /// <summary>Gets the model's digest; null if there is no model.</summary>
    public string? Digest { get; init; }

    /// <summary>Gets the name of the first run that has the same model; null if there is none.</summary>
    public string? SameAs { get; init; }

    /// <summary>Gets why the run failed; null if it did not.</summary>
    public string? Failure { get; init; }
}
