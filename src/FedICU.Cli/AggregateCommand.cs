using System.CommandLine;
using System.Diagnostics;
using FedICU.Cli.Json;
using FedICU.Files.Publishing;

namespace FedICU.Cli;

/// <summary>The command <c>fedicu aggregate</c>: combines the clients' updates into one model.</summary>
internal sealed class AggregateCommand : FedIcuCommand
{
    private readonly RoundLine _round = new(strategyRequired: true);
    private readonly Option<string?> _output = Flags.Optional(
        "--output", "OUT", "The new model: a .safetensors file, or a folder of the global model's kind. Required without --check.");
    private readonly Option<string?> _report =
        Flags.Optional("--report", "FILE", "Writes the round's report as JSON, with norms, cosines and LoRA cross-terms.");
    private readonly Option<bool> _noStatistics = Flags.Switch(
        "--no-statistics", "Leaves norms, cosines and cross-terms out of the report, which saves passes over the clients.");
    private readonly Option<string?> _dtype = Flags.OutputDType();
    private readonly Option<string?> _state = Flags.Optional(
        "--state", "FILE",
        "The state of a strategy that keeps one, such as fedadam: read, and replaced together with the model. " +
        "If FILE does not exist, the round is the first.");
    private readonly Option<string?> _stateOutput = Flags.Optional(
        "--state-out", "FILE", "Writes the new state here; FILE of --state must exist and is kept. Default: FILE of --state.");
    private readonly Option<bool> _check =
        Flags.Switch("--check", "Checks clients, strategy and state, and says who would take part. Computes and writes nothing.");
    private readonly Option<bool> _replace = Flags.Replace();
    private readonly Option<bool> _followLinks = Flags.FollowLinks();
    private readonly Option<bool> _json = Flags.Json();

    public AggregateCommand(Terminal terminal) : base("aggregate", "Combines the clients' updates into one model.", terminal)
    {
        _round.AddTo(this);
        ReadOnlySpan<Option> options =
            [_output, _report, _noStatistics, _dtype, _state, _stateOutput, _check, _replace, _followLinks, _json];
        foreach (Option option in options)
            Add(option);
    }

    public override IReadOnlyList<string> Examples =>
    [
        "fedicu aggregate --strategy fedicu --global global.safetensors --client a.safetensors --client b.safetensors " +
            "--output next.safetensors",
        "fedicu aggregate --strategy fedavg --global base/ --client hospital=run7/a --client clinic=run7/b --weights 1200,300 " +
            "--output next/ --report round.json",
        "fedicu aggregate --strategy fedicu --set tau=0.2 --set on-nonfinite=drop-client --set quorum=2 " +
            "--global g/ --client a/ --client b/ --client c/ --output next/",
        "fedicu aggregate --strategy krum,fedadam --set server-lr=0.05 --state state.safetensors " +
            "--global global.safetensors --clients round7/ --output next.safetensors",
    ];

    protected override async Task<int> RunAsync(ParseResult line, CancellationToken cancellationToken)
    {
        string? reportPath = line.GetValue(_report), outputPath = line.GetValue(_output);
        bool checks = line.GetValue(_check);
        RefuseUsageErrors(line, checks);
        var roundOptions = new RoundOptions
        {
            OutputDType = Flags.ReadDType(line.GetValue(_dtype)),
            Statistics = reportPath is not null && !line.GetValue(_noStatistics),
        };
        RoundPlan plan = _round.Read(line, roundOptions, Terminal);
        using var device = plan.Configured.Options.Backend as IDisposable;
        string? output = outputPath is null ? null : Paths.ReadOutput("--output", outputPath);
        Paths.RefuseOverwriting("--output", output, plan.Clients.Places);
        plan.Clients.RefuseOutput("--output", output);
        Paths.RefuseOverwriting(
            "--report", reportPath, [("the output", output), ("the global model", plan.Global), .. plan.Clients.Places]);

        var options = new OutputOptions { Replace = line.GetValue(_replace), FollowLinks = line.GetValue(_followLinks) };
        using RoundState? state = ReadState(line, plan, options);
        using TensorSource global = Paths.Open("--global", plan.Global);
        if (checks)
        {
            if (output is not null && Paths.IsFile(output))
                StagedFile.CheckPlace(output, options.FollowLinks);
            TensorSink? sink = output is null ? null : TensorSink.To(output, global, options);
            ShowCheck((await plan.CheckAsync(global, sink, state, Terminal, cancellationToken)).Report);
            return ExitCode.Done;
        }

        // opening a pipe blocks until its reader opens it too, so it must not block the cancellation
        using ReportFile? report = reportPath is null
            ? null
            : await Task.Run(() => new ReportFile(reportPath, output!, options.FollowLinks, Terminal), cancellationToken)
                .WaitAsync(cancellationToken);
        long start = Stopwatch.GetTimestamp();
        AggregationResult result =
            await plan.RunAsync(global, TensorSink.To(output!, global, options), state, Terminal, cancellationToken);
        TimeSpan elapsed = Stopwatch.GetElapsedTime(start);
        report?.Write(result.Report.ToJson());
        if (line.GetValue(_json))
        {
            WriteJson(result.Report, Paths.OutputFile(output!, global), output!, elapsed, cancellationToken);
            return ExitCode.Done;
        }

        RoundSummary.Write(result.Report, Terminal);
        Terminal.Verdict(
            $"{DescribeClients(result.Report)}, {Text.Count(result.Report.Tensors.Count, "tensor")}, backend {result.Report.Backend}: " +
            $"wrote {Paths.OutputFile(output!, global)}",
            good: true);
        return ExitCode.Done;
    }

    /// <summary>Refuses options that are missing beside others, or that contradict them.</summary>
    private void RefuseUsageErrors(ParseResult line, bool checks)
    {
        if (!checks && line.GetValue(_output) is null)
            throw new UsageException("The option '--output' is required by 'fedicu aggregate'; see 'fedicu aggregate --help'.");
        if (checks && line.GetValue(_report) is not null)
            throw new UsageException("'--report' and '--check' were given together; a check writes no report.");
        if (checks && line.GetValue(_json))
            throw new UsageException("'--json' and '--check' were given together; a check makes no model.");
        if (line.GetValue(_noStatistics) && line.GetValue(_report) is null)
            throw new UsageException("'--no-statistics' needs '--report', the report without them; see 'fedicu aggregate --help'.");
        if (line.GetValue(_stateOutput) is not null && line.GetValue(_state) is null)
            throw new UsageException("'--state-out' needs '--state', the state that is read; see 'fedicu aggregate --help'.");
    }

    /// <summary>Reads where the state is kept, and refuses places that would replace or shadow other files.</summary>
    private RoundState? ReadState(ParseResult line, RoundPlan plan, OutputOptions options)
    {
        if (line.GetValue(_state) is not { } path)
            return null;
        string? stateOutput = line.GetValue(_stateOutput);
        Check("--state", path);
        if (stateOutput is not null)
            Check("--state-out", stateOutput);
        return RoundState.InFile(path, stateOutput, options);

        void Check(string option, string place)
        {
            Paths.RefuseOverwriting(
                option, Paths.ReadOutput(option, place),
                [
                    ("the global model", plan.Global), ("the output", line.GetValue(_output)), ("the report", line.GetValue(_report)),
                    .. plan.Clients.Places,
                ]);
            plan.Clients.RefuseOutput(option, place);
        }
    }

    private void WriteJson(RoundReport report, string file, string output, TimeSpan elapsed, CancellationToken cancellationToken)
    {
        // before the digest, which is no part of the round
        long peak = MeasurePeakMemory();
        using TensorSource model = Paths.Open("--output", output);
        Terminal.Json(
            new AggregatedModel(
                file, ModelDigest.Compute(model, cancellationToken), report.Strategy, report.Backend, report.Clients.Count,
                report.Clients.Count(client => client.Included), report.Tensors.Count, elapsed.TotalSeconds, peak > 0 ? peak : null),
            CliJson.Default.AggregatedModel);
    }

    private static long MeasurePeakMemory()
    {
        using Process process = Process.GetCurrentProcess();
        return process.PeakWorkingSet64;
    }

    private void ShowCheck(RoundReport report)
    {
        RoundSummary.Write(report, Terminal);
        Terminal.Verdict($"{DescribeClients(report)} would take part: every check passed, and nothing was written", good: true);
    }

    private static string DescribeClients(RoundReport report) =>
        $"{report.Strategy}: {report.Clients.Count(client => client.Included)} of {Text.Count(report.Clients.Count, "client")}";
}
