using System.Text.Json;
using FedICU.Cli.Json;

namespace FedICU.Cli.Comparing;

/// <summary>
/// Makes the runs of a comparison, one after the other. Each aggregation is a process of its own, so that its memory is
/// its own and its crash is one run's failure.
/// </summary>
internal sealed class ComparisonRunner(ComparisonPlan plan, ComparisonStore store, Terminal terminal)
{
    // Chosen: how long after a program's end a signal is awaited that ended both processes. Some programs catch it and
    // end with code 0.
    private static readonly TimeSpan SignalDelay = TimeSpan.FromMilliseconds(200);

    private readonly string _evaluationFiles = plan.Evaluation is null ? "" : FileStamps.Of(plan.Evaluation.FindScripts());
    private string _position = "";

    /// <summary>Makes all runs that are not finished.</summary>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        store.Write(ComparisonSummary.ToJson(plan, store.Folder));
        foreach (ComparisonRun run in plan.Runs)
            await CompleteAsync(run, cancellationToken);
        // an earlier comparison may have removed the model that is the best now; each run is tried once
        var restored = new HashSet<string>();
        while (plan is { Kept: KeptModels.Best, Best: { } best } && !Path.Exists(best.Model) && restored.Add(best.Name))
            await CompleteAsync(best, cancellationToken);
    }

    private async Task CompleteAsync(ComparisonRun run, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        _position = $"[{plan.Runs.TakeWhile(other => other != run).Count() + 1}/{plan.Runs.Count}] {run.Name}: ";
        await RunAsync(run, cancellationToken);
        RemoveModels();
        store.Write(ComparisonSummary.ToJson(plan, store.Folder));
    }

    private async Task RunAsync(ComparisonRun run, CancellationToken cancellationToken)
    {
        // a run that was completed comes again only to restore its model
        bool isRestored = run.Result is not null;
        RunResult? before = plan.Restarts ? null : ComparisonStore.Read(run);
        if (before is not null && run.Inputs.FindChanges(before.Inputs) is { Count: > 0 } changes)
        {
            Say($"runs again, because {string.Join(" and ", changes)} changed");
            before = null;
        }

        if (before is { Failure: null, Model: not null } && IsEvaluated(before) && !isRestored && !IsMissing(run))
        {
            run.Result = plan.Evaluation is null ? before with { Evaluation = null } : before;
            Say("finished before");
            return;
        }

        RunModel? model = before?.Model is { } made && FindDigest(run, cancellationToken) == made.Digest ? made : null;
        ComparisonStore.Begin(run);
        run.Result = new RunResult(RunResult.CurrentVersion, run.Name, run.Inputs, model);
        if (model is null)
            await AggregateAsync(run, cancellationToken);
        // what is written here need not be computed again if the evaluation is stopped
        ComparisonStore.Write(run);
        if (run.Result.Failure is null && plan.Evaluation is not null)
        {
            // the same model needs no second evaluation
            if (before is not null && IsEvaluated(before) && run.Result.Model?.Digest == before.Model?.Digest)
                run.Result = run.Result with { Evaluation = before.Evaluation };
            else
                await EvaluateAsync(run, plan.Evaluation, cancellationToken);
            ComparisonStore.Write(run);
        }

        Say(run.Result.Failure is { } failure ? "failed: " + failure : ComparisonSummary.Describe(run.Result));
    }

    private bool IsEvaluated(RunResult result) => plan.Evaluation is null ||
        result.Evaluation is { } evaluation && evaluation.Command == plan.Evaluation.Text && evaluation.Files == _evaluationFiles;

    private bool IsMissing(ComparisonRun run) => plan.Kept == KeptModels.All && !Path.Exists(run.Model);

    /// <summary>Computes the digest of the model that a run has; null if it has none.</summary>
    private static string? FindDigest(ComparisonRun run, CancellationToken cancellationToken)
    {
        try
        {
            using TensorSource model = TensorSource.Open(run.Model);
            return ModelDigest.Compute(model, cancellationToken);
        }
        catch (FedIcuException)
        {
            return null;
        }
    }

    private async Task AggregateAsync(ComparisonRun run, CancellationToken cancellationToken)
    {
        if (run.Strategy is null)
        {
            run.Result = run.Result! with { Model = new RunModel(FindDigest(run, cancellationToken) ?? "") };
            return;
        }

        Say("aggregates");
        ComparisonStore.RemoveModel(run);
        string[] words =
        [
            "aggregate", "--strategy", run.Strategy.Chain, .. plan.Words,
            .. run.Strategy.Settings.Select(setting => $"--set={setting.Key}={setting.Value}"),
            "--output", run.Model, "--report", run.Report, "--no-statistics", "--json",
        ];
        try
        {
            await AggregateAsync(run, words, cancellationToken);
        }
        catch (RefusedException e)
        {
            run.Result = run.Result! with { Failure = Text.Sentence(e.Message) };
        }
    }

    private static async Task AggregateAsync(ComparisonRun run, string[] words, CancellationToken cancellationToken)
    {
        string output = Path.Combine(run.Folder, "aggregate.json"), errors = Path.Combine(run.Folder, "aggregate.log");
        ChildResult child = await ChildProcess.RunAsync(ToolProcess.Create(words), output, errors, null, cancellationToken);
        if (child.ExitCode == ExitCode.Done)
        {
            AggregatedModel made = JsonSerializer.Deserialize(ChildProcess.ReadTail(output), CliJson.Default.AggregatedModel)!;
            run.Result = run.Result! with
            {
                Model = new RunModel(made.Digest, made.Backend, made.IncludedClients, made.Seconds, made.PeakMemoryBytes),
            };
            return;
        }

        await Task.Delay(SignalDelay, cancellationToken);
        const string Prefix = "fedicu: ";
        string last = LastLine(errors);
        run.Result = run.Result! with
        {
            Failure = last.StartsWith(Prefix, StringComparison.Ordinal) ? last[Prefix.Length..]
                : $"the aggregation {child.Describe()}{(last.Length > 0 ? ": " + last : ".")}",
        };
    }

    private async Task EvaluateAsync(ComparisonRun run, EvaluationCommand evaluation, CancellationToken cancellationToken)
    {
        Say("evaluates");
        string output = Path.Combine(run.Folder, "evaluation.txt"), errors = Path.Combine(run.Folder, "evaluation.log");
        string? failure;
        try
        {
            ChildResult child = await ChildProcess.RunAsync(
                evaluation.Create(run.Model, run.Report, run.Name), output, errors, plan.Timeout, cancellationToken);
            await Task.Delay(SignalDelay, cancellationToken);
            OrderedDictionary<string, double> metrics = EvaluationOutput.Read(ChildProcess.ReadTail(output));
            if (child.ExitCode == 0 && metrics.Count > 0)
            {
                var printed = new Dictionary<string, double>(metrics, StringComparer.Ordinal);
                run.Result = run.Result! with
                {
                    Evaluation = new RunEvaluation(evaluation.Text, _evaluationFiles, child.Elapsed.TotalSeconds, printed),
                };
                return;
            }

            failure = child.ExitCode == 0 ? "the evaluation printed no number" : $"the evaluation {child.Describe()}";
            string last = LastLine(errors) is { Length: > 0 } error ? error : LastLine(output);
            failure += last.Length > 0 ? ": " + last : ".";
        }
        catch (RefusedException e)
        {
            failure = e.Message;
        }

        run.Result = run.Result! with { Failure = Text.Sentence(failure) };
    }

    /// <summary>Removes the models that are not kept. Those without an evaluation stay for the next try.</summary>
    private void RemoveModels()
    {
        if (plan.Kept == KeptModels.All)
            return;
        ComparisonRun? best = plan.Kept == KeptModels.Best ? plan.Best : null;
        foreach (ComparisonRun run in plan.Runs.Where(run => run.Result is { Failure: null } && run != best))
            ComparisonStore.RemoveModel(run);
    }

    private static string LastLine(string path) =>
        ChildProcess.ReadTail(path).Split('\n').Select(line => line.Trim()).LastOrDefault(line => line.Length > 0) ?? "";

    private void Say(string sentence) => terminal.Progress(_position + sentence);
}
