using System.CommandLine;

namespace FedICU.Cli;

/// <summary>The command <c>fedicu aggregate</c>: combines the clients' updates into one model.</summary>
internal sealed class AggregateCommand : FedIcuCommand
{
    private readonly RoundLine _round = new(strategyRequired: true);
    private readonly Option<string> _output =
        Flags.Required("--output", "OUT", "The new model: a .safetensors file, or a folder of the global model's kind.");
    private readonly Option<string?> _report =
        Flags.Optional("--report", "FILE", "Writes the round's report as JSON, with norms, cosines and LoRA cross-terms.");
    private readonly Option<string?> _dtype =
        Flags.Optional("--dtype", "TYPE", "The output's type: f32, f16, bf16 or f64. Default: the global model's.");
    private readonly Option<bool> _replace = Flags.Replace();
    private readonly Option<bool> _followLinks = Flags.FollowLinks();

    public AggregateCommand(Terminal terminal) : base("aggregate", "Combines the clients' updates into one model.", terminal)
    {
        _round.AddTo(this);
        foreach (Option option in (ReadOnlySpan<Option>)[_output, _report, _dtype, _replace, _followLinks])
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
    ];

    protected override async Task<int> RunAsync(ParseResult line, CancellationToken cancellationToken)
    {
        string? reportPath = line.GetValue(_report);
        var roundOptions = new RoundOptions { OutputDType = Flags.ReadDType(line.GetValue(_dtype)), Statistics = reportPath is not null };
        RoundPlan plan = _round.Read(line, roundOptions, Terminal);
        using var device = plan.Configured.Options.Backend as IDisposable;
        string output = Paths.ReadOutput("--output", line.GetRequiredValue(_output));
        Paths.RefuseOverwriting("--output", output, plan.Clients.Places);
        plan.Clients.RefuseOutput(output);
        Paths.RefuseOverwriting(
            "--report", reportPath, [("the output", output), ("the global model", plan.Global), .. plan.Clients.Places]);

        using TensorSource global = Paths.Open("--global", plan.Global);
        var options = new OutputOptions { Replace = line.GetValue(_replace), FollowLinks = line.GetValue(_followLinks) };
        // opening a pipe blocks until its reader opens it too, so it must not block the cancellation
        using ReportFile? report = reportPath is null
            ? null
            : await Task.Run(() => new ReportFile(reportPath, output, options.FollowLinks, Terminal), cancellationToken)
                .WaitAsync(cancellationToken);
        AggregationResult result = await plan.RunAsync(global, TensorSink.To(output, global, options), Terminal, cancellationToken);
        report?.Write(result.Report.ToJson());

        RoundSummary.Write(result.Report, Terminal);
        int included = result.Report.Clients.Count(client => client.Included);
        Terminal.Verdict(
            $"{result.Report.Strategy}: {included} of {Text.Count(result.Report.Clients.Count, "client")}, " +
            $"{Text.Count(result.Report.Tensors.Count, "tensor")}, backend {result.Report.Backend}: " +
            $"wrote {Paths.OutputFile(output, global)}",
            good: true);
        return ExitCode.Done;
    }
}
