namespace FedICU.Cli.Comparing;

/// <summary>How the runs of a comparison are made.</summary>
/// <param name="Runs">The runs, the global model's first if it is evaluated.</param>
/// <param name="Global">The global model as typed.</param>
/// <param name="Clients">The number of clients.</param>
/// <param name="Words">The words of <c>aggregate</c> that all runs share.</param>
internal sealed record ComparisonPlan(IReadOnlyList<ComparisonRun> Runs, string Global, int Clients, IReadOnlyList<string> Words)
{
    public EvaluationCommand? Evaluation { get; init; }

    /// <summary>Gets how long an evaluation may take; null: without a limit.</summary>
    public TimeSpan? Timeout { get; init; }

    public MetricChoice? Choice { get; init; }

    public KeptModels Kept { get; init; }

    /// <summary>Gets whether finished runs run again.</summary>
    public bool Restarts { get; init; }

    public ComparisonRun? Best => Choice?.FindBest(Runs);

    /// <summary>Gets the number of runs that have a model and, if models are evaluated, an evaluation.</summary>
    public int Finished =>
        Runs.Count(run => run.Result is { Failure: null, Model: not null } result && (Evaluation is null || result.Evaluation is not null));

    /// <summary>Gets the names of all metrics: the one that decides first, the others in the order printed.</summary>
    public IReadOnlyList<string> Metrics =>
    [
        .. Runs.SelectMany(run => run.Result?.Evaluation?.Metrics.Keys ?? Enumerable.Empty<string>()).Distinct()
            .OrderBy(name => name != Choice?.Metric),
    ];
}
