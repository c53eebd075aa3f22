using System.Globalization;
using System.Text.Json;
using FedICU.Cli.Json;
using FedICU.Reports;

namespace FedICU.Cli.Comparing;

/// <summary>Shows the results of a comparison as a table, as JSON and as a page.</summary>
internal static class ComparisonSummary
{
    /// <summary>The value of <c>format</c> in <c>comparison.json</c>.</summary>
    public const string Format = "fedicu-comparison";

    private const int Version = 1;

    // chosen: more do not fit beside the other columns of a terminal
    private const int MostColumns = 6;

    // hexadecimal digits of a digest in the table; chosen: enough to find it in the output of inspect
    private const int DigestDigits = 12;

    public static string ToJson(ComparisonPlan plan, string folder)
    {
        var results = new ComparisonResults(
            Format, Version, ToolVersion.Text, plan.Global, plan.Clients, plan.Evaluation?.Text, plan.Choice?.Metric,
            plan.Choice is null ? null : plan.Choice.IsMinimized ? "minimize" : "maximize", plan.Best?.Name, plan.Metrics,
            [.. plan.Runs.Select(run => ToResult(run, plan, folder))]);
        return JsonSerializer.Serialize(results, ComparisonJson.Default.ComparisonResults);
    }

    public static ComparisonPage ToPage(ComparisonPlan plan) => new(
        $"{Text.Count(plan.Runs.Count(run => run.Strategy is not null), "aggregation")} of {Text.Count(plan.Clients, "client")}",
        [.. plan.Runs.Select(run => ToPage(run, plan))])
    {
        Metric = plan.Choice?.Metric,
        Best = plan.Best?.Name,
        Description = $"Global model: {plan.Global}." + (plan.Evaluation is null ? "" : $" Evaluated by: {plan.Evaluation.Text}"),
    };

    public static void WriteTable(ComparisonPlan plan, Terminal terminal)
    {
        string[] metrics = [.. plan.Metrics.Take(MostColumns)];
        bool isEvaluated = plan.Evaluation is not null;
        var table = new ResultTable(
            ["run", .. metrics.Select(name => ">" + name), ">seconds", .. isEvaluated ? [">evaluation"] : Array.Empty<string>(),
                ">memory", "digest", ""]);
        foreach (ComparisonRun run in plan.Runs)
        {
            RunModel? model = run.Result?.Model;
            RunEvaluation? evaluation = run.Result?.Evaluation;
            table.Add(
            [
                run.Name,
                .. metrics.Select(name => Text.Number(evaluation?.Metrics.TryGetValue(name, out double value) == true ? value : null)),
                Seconds(model?.Seconds), .. isEvaluated ? [Seconds(evaluation?.Seconds)] : Array.Empty<string>(),
                model?.PeakMemoryBytes is { } bytes ? Text.Bytes(bytes) : "-", Shorten(model?.Digest), Note(run, plan),
            ]);
        }

        terminal.Table(table);
        if (plan.Metrics.Count > metrics.Length)
            terminal.Line($"{Text.Count(plan.Metrics.Count - metrics.Length, "metric")} more: see {ComparisonStore.Results}");
    }

    /// <summary>Describes a finished run in a few words.</summary>
    public static string Describe(RunResult result) => string.Join(", ",
    [
        .. (result.Evaluation?.Metrics ?? []).Take(MostColumns).Select(metric => $"{metric.Key} {Text.Number(metric.Value)}"),
        $"{Seconds((result.Model?.Seconds ?? 0) + (result.Evaluation?.Seconds ?? 0))} s",
    ]);

    /// <summary>Finds the first run that has the same model as another one.</summary>
    public static ComparisonRun? FindSame(ComparisonRun run, ComparisonPlan plan) => run.Result?.Model?.Digest is not { } digest
        ? null
        : plan.Runs.TakeWhile(other => other != run).FirstOrDefault(other => other.Result?.Model?.Digest == digest);

    private static string Note(ComparisonRun run, ComparisonPlan plan)
    {
        if (run.Result?.Failure is { } failure)
            return "failed: " + failure;
        string best = run == plan.Best ? "best" : "";
        return FindSame(run, plan) is not { } same ? best : $"{best}{(best.Length > 0 ? ", " : "")}same model as {same.Name}";
    }

    private static string Seconds(double? seconds) => seconds?.ToString("F2", CultureInfo.InvariantCulture) ?? "-";

    private static string Shorten(string? digest)
    {
        if (digest is null)
            return "-";
        string digits = digest[(digest.IndexOf(':', StringComparison.Ordinal) + 1)..];
        return digits[..Math.Min(DigestDigits, digits.Length)];
    }

    private static ComparedRun ToPage(ComparisonRun run, ComparisonPlan plan) => new(run.Name)
    {
        Strategy = run.Strategy?.Chain,
        Options = run.Strategy?.Settings ?? [],
        Metrics = run.Result?.Evaluation?.Metrics ?? [],
        Seconds = run.Result?.Model?.Seconds,
        EvaluationSeconds = run.Result?.Evaluation?.Seconds,
        PeakMemoryBytes = run.Result?.Model?.PeakMemoryBytes,
        Digest = run.Result?.Model?.Digest,
        SameAs = FindSame(run, plan)?.Name,
        Failure = run.Result?.Failure,
    };

    private static ComparedRunResult ToResult(ComparisonRun run, ComparisonPlan plan, string folder)
    {
        RunResult? result = run.Result;
        RunModel? model = result?.Model;
        return new ComparedRunResult(
            run.Name, Path.GetRelativePath(folder, run.Folder), run.Strategy?.Chain,
            new Dictionary<string, string>(run.Strategy?.Settings ?? []),
            result is null ? "pending" : result.Failure is null ? "done" : "failed", result?.Failure,
            result?.Evaluation?.Metrics ?? [], model?.Seconds, result?.Evaluation?.Seconds, model?.PeakMemoryBytes,
            model?.IncludedClients, model?.Backend, model?.Digest, FindSame(run, plan)?.Name,
            model is not null && Path.Exists(run.Model) ? run.Model : null);
    }
}
