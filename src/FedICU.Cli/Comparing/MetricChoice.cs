namespace FedICU.Cli.Comparing;

/// <summary>The metric by which runs are compared.</summary>
internal sealed record MetricChoice(string Metric, bool IsMinimized)
{
    /// <summary>
    /// Finds the best run: the first of equal ones. The global model does not count; NaN is never the best. Null if no
    /// run has the metric.
    /// </summary>
    public ComparisonRun? FindBest(IEnumerable<ComparisonRun> runs) => runs
        .Where(run => run.Strategy is not null && !double.IsNaN(ValueOf(run)))
        .MaxBy(run => IsMinimized ? -ValueOf(run) : ValueOf(run));

    private double ValueOf(ComparisonRun run) =>
        run.Result?.Evaluation?.Metrics.TryGetValue(Metric, out double value) == true ? value : double.NaN;
}
