using System.CommandLine;

namespace FedICU.Cli;

/// <summary>The command <c>fedicu merge</c>: merges models that were made from one base model.</summary>
internal sealed class MergeCommand : FedIcuCommand
{
    private readonly MergeLine _merge = new();
    private readonly Option<string> _output =
        Flags.Required("--output", "OUT", "The merged model: a .safetensors file, or a folder of the base model's kind.");
    private readonly Option<string?> _backend = Flags.Backend();
    private readonly Option<string?> _threads = Flags.Threads();
    private readonly Option<bool> _replace = Flags.Replace();
    private readonly Option<bool> _followLinks = Flags.FollowLinks();

    public MergeCommand(Terminal terminal) : base("merge", "Merges models that were made from one base model.", terminal)
    {
        _merge.AddTo(this);
        foreach (Option option in (ReadOnlySpan<Option>)[_output, _backend, _threads, _replace, _followLinks])
            Add(option);
    }

    public override IReadOnlyList<string> Examples =>
    [
        "fedicu merge --method ties --base base/ --model math/ --weight 0.6 --model code/ --weight 0.4 --output merged/",
        "fedicu merge --method dare --set seed=7 --set density=0.3 --base base/ --model math/ --model code/ --output merged/",
        "fedicu merge --config mergekit.yml --output merged/",
    ];

    protected override async Task<int> RunAsync(ParseResult line, CancellationToken cancellationToken)
    {
        string? backendName = Flags.ReadBackendName(line.GetValue(_backend));
        MergePlan plan = _merge.Read(line);
        string method = Flags.ReadStrategy(plan.Method, StrategyRegistry.Default);
        string output = Paths.ReadOutput("--output", line.GetRequiredValue(_output));
        ClientList models = plan.ToClients();
        // slerp's base may be one of the models, so that only the output must be another place
        Paths.RefuseOverwriting("--output", output, [("the base model", plan.Base), .. models.Places]);
        var options = new RoundOptions
        {
            OutputDType = plan.DType,
            Threads = Flags.ReadThreads(line.GetValue(_threads)),
            Backend = Flags.ReadBackend(backendName, Terminal, models.UpdatePaths),
        };
        using var device = options.Backend as IDisposable;
        ConfiguredRound configured = StrategyRegistry.Default.Create(method, plan.Settings, options);
        if (configured.Aggregator.KeepsState)
        {
            throw new RefusedException(
                $"'{method}' keeps a state between rounds, which a merge has not; 'fedicu aggregate --state' runs it.");
        }

        var sinkOptions = new OutputOptions { Replace = line.GetValue(_replace), FollowLinks = line.GetValue(_followLinks) };
        using TensorSource global = Paths.Open("--base", plan.Base);
        CompanionFiles companions = CompanionFiles.Find("--base", plan.Base, output, sinkOptions, plan.DType);
        AggregationResult result = await Terminal.WithProgressAsync(progress =>
        {
            var round = new AggregationRound(global, configured.Options with { Progress = progress });
            models.AddTo(round, UpdateKind.Full);
            return configured.Aggregator.AggregateAsync(round, TensorSink.To(output, global, sinkOptions), cancellationToken);
        });
        IReadOnlyList<string> copied = companions.Copy();
        RoundSummary.Write(result.Report, Terminal);
        if (copied.Count > 0)
            Terminal.Line($"copied from the base model: {string.Join(", ", copied)}");
        Terminal.Verdict(
            $"{result.Report.Strategy}: {Text.Count(result.Report.Clients.Count(client => client.Included), "model")}, " +
            $"{Text.Count(result.Report.Tensors.Count, "tensor")}, backend {result.Report.Backend}: " +
            $"wrote {Paths.OutputFile(output, global)}",
            good: true);
        return ExitCode.Done;
    }
}
