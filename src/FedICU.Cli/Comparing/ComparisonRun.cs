namespace FedICU.Cli.Comparing;

/// <summary>
/// A run of a comparison: the aggregation and evaluation of one strategy, or the evaluation of the global model.
/// </summary>
/// <param name="Name">The name in tables.</param>
/// <param name="Folder">The full path of its folder.</param>
/// <param name="Strategy">The strategy; null for the global model.</param>
/// <param name="Model">The full path of its model.</param>
/// <param name="Inputs">What its result depends on.</param>
internal sealed record ComparisonRun(string Name, string Folder, ComparedStrategy? Strategy, string Model, RunInputs Inputs)
{
    /// <summary>The name of the global model's run.</summary>
    public const string Baseline = "global";

    /// <summary>Gets the round's report, which the global model has not.</summary>
    public string Report => Path.Combine(Folder, "report.json");

    /// <summary>Gets or sets what the run has; null before it has run.</summary>
    public RunResult? Result { get; set; }
}
