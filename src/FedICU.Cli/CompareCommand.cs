using System.CommandLine;
using System.Globalization;
using FedICU.Cli.Comparing;
using FedICU.Files;

namespace FedICU.Cli;

/// <summary>The command <c>fedicu compare</c>: runs one round with several strategies, evaluates each.</summary>
internal sealed class CompareCommand : FedIcuCommand
{
    private const string DefaultFolder = "comparison";

    private readonly Option<string[]> _strategies = new("--strategies")
    {
        HelpName = "LIST",
        Description = "The strategies, joined by commas; the option may be repeated. '+' joins a chain: krum+fedadam. Options follow " +
            "after ':', and '|' between values makes a run of each: 'fedicu:tau=0.1|0.5:similarity=mean'. A backslash before one of " +
            ", : | makes it part of a value.",
        Required = true,
    };

    private readonly RoundInputLine _inputs = new();
    private readonly Option<string?> _evaluate = Flags.Optional(
        "--evaluate", "COMMAND",
        "The command that evaluates a model: {model} is its path, {report} the report of its round, {name} the run's name. It prints a " +
        "JSON object, lines NAME: NUMBER, or one number. No shell runs it. Default: no evaluation.");
    private readonly Option<string?> _timeout =
        Flags.Optional("--timeout", "SECONDS", "How long an evaluation may take. Default: without a limit.");
    private readonly Option<string?> _maximize = Flags.Optional("--maximize", "METRIC", "Marks the run with the largest METRIC.");
    private readonly Option<string?> _minimize = Flags.Optional("--minimize", "METRIC", "Marks the run with the smallest METRIC.");
    private readonly Option<bool> _noBaseline = Flags.Switch("--no-baseline", "Does not evaluate the global model itself.");
    private readonly Option<string?> _output =
        Flags.Optional("--output", "FOLDER", $"The folder of the results, from which the same command goes on. Default: {DefaultFolder}.");
    private readonly Option<string?> _keep = Flags.Optional(
        "--keep", "WHICH", "The models that are kept after their evaluation: all, best or none. Default: all.");
    private readonly Option<string?> _dtype = Flags.OutputDType();
    private readonly Option<bool> _restart = Flags.Switch("--restart", "Runs finished runs again.");
    private readonly Option<bool> _json = Flags.Json();

    public CompareCommand(Terminal terminal)
        : base("compare", "Runs one round with several strategies, evaluates each model, and shows a table and a picture.", terminal)
    {
        Add(_strategies);
        _inputs.AddTo(this);
        ReadOnlySpan<Option> options =
            [_evaluate, _timeout, _maximize, _minimize, _noBaseline, _output, _keep, _dtype, _restart, _json];
        foreach (Option option in options)
            Add(option);
    }

    public override IReadOnlyList<string> Examples =>
    [
        "fedicu compare --strategies fedavg,fedicu,median --global global.safetensors --clients round7/ " +
            "--evaluate \"python eval.py {model}\" --maximize accuracy",
        "fedicu compare --strategies \"fedavg,krum+fedadam,fedicu:tau=0.1|0.5|inf\" --global base/ --clients round7/",
    ];

    protected override async Task<int> RunAsync(ParseResult line, CancellationToken cancellationToken)
    {
        MetricChoice? choice = ReadChoice(line);
        KeptModels kept = ReadKept(line.GetValue(_keep), choice);
        Flags.ReadDType(line.GetValue(_dtype));
        RoundInputs inputs = _inputs.Read(line);
        List<ComparedStrategy> strategies = ReadStrategies(line, inputs, out double maxWeight);
        ClientList clients = inputs.ReadClients();
        inputs.WeighClients(clients, maxWeight);
        EvaluationCommand? evaluation = line.GetValue(_evaluate) is { } text ? new EvaluationCommand(text) : null;
        string folder = Paths.Read("--output", line.GetValue(_output) ?? DefaultFolder);
        (string What, string? Path)[] paths = [.. _inputs.FindPaths(line)];
        RefuseInputsInside(
            folder, [("the global model", inputs.Global), .. clients.Places, .. paths,
                .. strategies.SelectMany(run => RoundInputLine.FindPaths(run.Settings))]);
        clients.RefuseOutput("--output", folder);
        using (Paths.Open("--global", inputs.Global))
        {
            // only whether it opens: each run opens it again
        }

        string[] dtype = line.GetValue(_dtype) is { } typed ? [_dtype.Name, typed] : [];
        bool hasBaseline = evaluation is { NeedsReport: false } && !line.GetValue(_noBaseline);
        string settings = Stamp([.. _inputs.RepeatSettings(line), .. dtype], paths);
        var plan = new ComparisonPlan(
            PlanRuns(Path.GetFullPath(folder), strategies, inputs, clients, settings, hasBaseline), inputs.Global, clients.Entries.Count,
            [.. _inputs.Repeat(line), .. dtype])
        {
            Evaluation = evaluation,
            Timeout = ReadTimeout(line.GetValue(_timeout)),
            Choice = choice,
            Kept = kept,
            Restarts = line.GetValue(_restart),
        };
        return await RunAsync(plan, folder, line.GetValue(_json), cancellationToken);
    }

    private async Task<int> RunAsync(ComparisonPlan plan, string folder, bool json, CancellationToken cancellationToken)
    {
        using ComparisonStore store = ComparisonStore.Open(folder);
        try
        {
            await new ComparisonRunner(plan, store, Terminal).RunAsync(cancellationToken);
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            Terminal.Fail(
                $"Cancelled; '{folder}' has {Text.Count(plan.Finished, "finished run")} of {plan.Runs.Count}. The same command goes on.");
            return ExitCode.Interrupted;
        }

        store.WritePage(ComparisonSummary.ToPage(plan).Write);
        if (json)
            Terminal.Json(ComparisonSummary.ToJson(plan, store.Folder));
        else
            ComparisonSummary.WriteTable(plan, Terminal);
        int failed = plan.Runs.Count(run => run.Result?.Failure is not null);
        if (!json)
        {
            Terminal.Verdict(
                $"{Text.Count(plan.Runs.Count, "run")}, {failed} failed: wrote {Path.Combine(folder, ComparisonStore.Page)}", failed == 0);
        }

        if (plan.Choice is not null && plan.Best is null)
            Terminal.Warn($"no run has a value of '{plan.Choice.Metric}'; {string.Join(", ", plan.Metrics)} were printed.");
        if (failed > 0)
            Terminal.Fail($"{failed} of {Text.Count(plan.Runs.Count, "run")} failed; the same command runs them again.");
        return failed > 0 ? ExitCode.Refused : ExitCode.Done;
    }

    /// <summary>Reads the strategies, and refuses all faults at once before anything runs.</summary>
    private List<ComparedStrategy> ReadStrategies(ParseResult line, RoundInputs inputs, out double maxWeight)
    {
        var errors = new List<string>();
        List<ComparedStrategy> strategies = StrategyList.Read(line.GetRequiredValue(_strategies), errors);
        StrategyRegistry registry = inputs.Plugins.Registry;
        string[] unknown =
            [.. strategies.SelectMany(run => run.Chain.Split(',')).Where(name => registry.Find(name) is null).Distinct()];
        RoundOptions options = inputs.ReadOptions(new RoundOptions());
        maxWeight = double.PositiveInfinity;
        foreach (ComparedStrategy run in strategies.Where(run => run.Chain.Split(',').All(name => registry.Find(name) is not null)))
        {
            try
            {
                maxWeight = Math.Min(maxWeight, inputs.Configure(run.Chain, options, run.Settings).Options.MaxWeight);
            }
            catch (InvalidOptionsException e)
            {
                errors.AddRange(e.Errors.Select(error => $"{run.Chain.Replace(',', StrategyList.Join)}: {error}"));
            }
        }

        string others = string.Join(' ', errors.Distinct());
        if (unknown.Length > 0)
        {
            string names = string.Join(", ", unknown.Select(name => $"'{name}'"));
            throw new UsageException(
                $"{others} The {(unknown.Length == 1 ? "strategy" : "strategies")} {names} {(unknown.Length == 1 ? "is" : "are")} unknown; "
                    .TrimStart() + $"{string.Join(", ", registry.Names)} are known.");
        }

        return errors.Count == 0 ? strategies : throw new RefusedException(others);
    }

    private static List<ComparisonRun> PlanRuns(
        string folder, List<ComparedStrategy> strategies, RoundInputs inputs, ClientList clients, string settings, bool hasBaseline)
    {
        var folders = new RunFolders();
        string global = FileStamps.Of([inputs.Global]);
        string clientStamps = FileStamps.Of(
            clients.Entries.SelectMany(client => (string?[])[client.Path, client.Statements.Control]).OfType<string>(),
            string.Join('\n', clients.Entries));
        // the global model's own folder gets its kind of model
        string model = Directory.Exists(inputs.Global) || !Paths.IsFile(inputs.Global) ? "model" : "model.safetensors";
        string baseline = folders.Name(ComparisonRun.Baseline);
        var runs = new List<ComparisonRun>();
        if (hasBaseline)
        {
            runs.Add(new ComparisonRun(
                ComparisonRun.Baseline, Path.Combine(folder, baseline), null, Path.GetFullPath(inputs.Global),
                new RunInputs("", "", "", global, "")));
        }

        foreach (ComparedStrategy strategy in strategies)
        {
            string place = Path.Combine(folder, folders.Name(strategy.Name));
            string own = Stamp(
                strategy.Settings.Select(setting => $"{setting.Key}={setting.Value}"), RoundInputLine.FindPaths(strategy.Settings));
            runs.Add(new ComparisonRun(
                strategy.Name, place, strategy, Path.Combine(place, model),
                new RunInputs(ToolVersion.Text, strategy.Chain, $"{settings}\n{own}", global, clientStamps)));
        }

        return runs;
    }

    /// <summary>Joins options and the stamps of the files that they name.</summary>
    private static string Stamp(IEnumerable<string> options, IEnumerable<(string What, string? Path)> paths) =>
        $"{string.Join('\n', options)}\n{FileStamps.Of(paths.Select(named => named.Path!))}";

    /// <summary>Refuses a folder that holds an input, which a run would remove.</summary>
    private static void RefuseInputsInside(string folder, IEnumerable<(string What, string? Path)> inputs)
    {
        string inside = Path.TrimEndingDirectorySeparator(FilePlace.Real(folder)) + Path.DirectorySeparatorChar;
        foreach ((string what, string? path) in inputs)
        {
            if (string.IsNullOrEmpty(path))
                continue;
            if ((FilePlace.Real(path) + Path.DirectorySeparatorChar).StartsWith(inside, StringComparison.Ordinal))
                throw new RefusedException($"--output '{folder}' holds {what}, '{path}'; another folder was expected.");
        }
    }

    private MetricChoice? ReadChoice(ParseResult line)
    {
        string? largest = line.GetValue(_maximize), smallest = line.GetValue(_minimize);
        if (largest is not null && smallest is not null)
            throw new UsageException("'--maximize' and '--minimize' were given together; one metric decides.");
        if ((largest ?? smallest) is not { } metric)
            return null;
        if (line.GetValue(_evaluate) is null)
            throw new UsageException($"'{(largest is null ? "--minimize" : "--maximize")}' needs '--evaluate', which prints the metric.");
        return new MetricChoice(metric, IsMinimized: largest is null);
    }

    private static KeptModels ReadKept(string? text, MetricChoice? choice) => text switch
    {
        null or "all" => KeptModels.All,
        "none" => KeptModels.None,
        "best" when choice is null => throw new UsageException("'--keep best' needs '--maximize' or '--minimize', which say what is best."),
        "best" => KeptModels.Best,
        _ => throw new UsageException($"--keep is '{text}'; all, best or none was expected."),
    };

    private static TimeSpan? ReadTimeout(string? text)
    {
        // the longest time of a timer, about 24 days
        const double Longest = int.MaxValue / 1000.0;
        if (text is null)
            return null;
        return double.TryParse(text, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out double seconds) &&
            seconds is > 0 and <= Longest
            ? TimeSpan.FromSeconds(seconds)
            : throw new RefusedException($"--timeout is '{text}'; a number of seconds above 0 was expected.");
    }
}
