using System.CommandLine;
using FedICU.Compute;
using FedICU.Files;

namespace FedICU.Cli;

/// <summary><c>fedicu mask</c>: makes the update a client sends, of what matters more than what it received.</summary>
internal sealed class MaskCommand : FedIcuCommand
{
    private readonly Option<string> _global = Flags.Required("--global", "MODEL", "The model as received.");
    private readonly Option<string> _local = Flags.Required("--local", "MODEL", "The model as trained.");
    private readonly Option<string?> _momentum = Flags.Optional("--momentum", "IN", "The momentum of the round before; none in the first. Without, this round's change alone decides.");
    private readonly Option<string?> _momentumOut = Flags.Optional("--momentum-out", "OUT", "Keeps the new momentum for the next round.");
    private readonly Option<string> _output = Flags.Required("--output", "OUT", "The update: a .safetensors file, or a folder of the global model's kind.");
    private readonly Option<string?> _mask = Flags.Mask();
    private readonly Option<bool> _dense = Flags.Switch("--dense", "Writes the masked model as ordinary tensors.");
    private readonly Option<string[]> _settings = Flags.Settings("preset, beta, importance, fill, seed, sigma, momentum, mask, on-config");
    private readonly Option<string?> _round = Flags.Round("The number of the round, kept with the update and the momentum. Default: what the trained model's metadata state, else the received model's.");
    private readonly Option<string?> _backend = Flags.Backend();
    private readonly Option<string?> _threads = Flags.Threads();
    private readonly Option<bool> _replace = Flags.Replace(), _followLinks = Flags.FollowLinks();

    public MaskCommand(Terminal terminal) : base("mask", "Makes a client's sparse update: of the trained model, what is more important than the received one.", terminal)
    {
        foreach (Option option in (ReadOnlySpan<Option>)[_global, _local, _momentum, _momentumOut, _output, _mask, _dense, _round, _settings, _backend, _threads, _replace, _followLinks])
            Add(option);
    }

    public override IReadOnlyList<string> Examples =>
    [
        "fedicu mask --global global.safetensors --local trained.safetensors --output update.safetensors",
        "fedicu mask --global base/ --local trained/ --mask top=0.1 --set importance=rank --output update.safetensors",
        "fedicu mask --global base/ --local trained/ --mask soft --dense --output masked/",
    ];

    protected override Task<int> RunAsync(ParseResult line, CancellationToken cancellationToken) => Task.Run(() => MaskAsync(line, cancellationToken), cancellationToken);

    private async Task<int> MaskAsync(ParseResult line, CancellationToken cancellationToken)
    {
        IClientBackend backend = Flags.ReadBackend(line.GetValue(_backend), Terminal, [line.GetRequiredValue(_global), line.GetRequiredValue(_local)]);
        using var device = backend as IDisposable;
        string? mask = Flags.ReadMask(line.GetValue(_mask));
        List<KeyValuePair<string, string>> settings = Flags.ReadSettings(line.GetValue(_settings));
        if (mask is not null && settings.Exists(setting => setting.Key == "mask"))
            throw new RefusedException("--mask and --set mask were both given.");
        if (mask is not null)
            settings.Add(new("mask", mask));
        bool ignoreBase = ReadIgnoreBase(settings);
        FedIcuClientOptions options = FedIcuClientOptions.FromSettings(settings) with
        {
            Threads = Flags.ReadThreads(line.GetValue(_threads)),
            Round = Flags.ReadRound(line.GetValue(_round)),
        };
        bool dense = line.GetValue(_dense);
        string output = Paths.ReadOutput("--output", line.GetRequiredValue(_output)), globalPath = line.GetRequiredValue(_global), localPath = line.GetRequiredValue(_local);
        string? momentumPath = line.GetValue(_momentum), momentumOut = line.GetValue(_momentumOut);
        RefuseWhatHasNoEffect(options, settings, momentumPath);
        if (momentumOut is not null)
            Paths.ReadOutput("--momentum-out", momentumOut);
        (string, string?)[] models = [("the received model", globalPath), ("the trained model", localPath)];
        Paths.KeepApart("--output", output, [.. models, ("the momentum", momentumPath)]);
        // the old momentum may be replaced by the new one
        Paths.KeepApart("--momentum-out", momentumOut, [.. models, ("the output", output)]);

        using TensorSource global = Paths.Open("--global", globalPath);
        using TensorSource local = Paths.Open("--local", localPath);
        using TensorSource? momentum = momentumPath is null ? null : Paths.Open("--momentum", momentumPath);
        CheckKinds(global, local, ignoreBase, output, dense || options.Mask == MaskRule.GaussianNoise || options.Fill == MaskFill.Zero);
        var outputs = new OutputOptions { Replace = line.GetValue(_replace), FollowLinks = line.GetValue(_followLinks) };
        MaskReport report = await Terminal.WithProgressAsync(progress => Task.FromResult(new FedIcuClient(options with { Progress = progress }).CreateUpdate(
            global, local, TensorSink.To(output, global, outputs), momentum,
            momentumOut is null ? null : TensorSink.To(momentumOut, global, outputs), dense, backend, cancellationToken)));
        Write(report, Paths.Written(output, global));
        return ExitCode.Done;
    }

    /// <summary>A value that the other options leave without effect is more likely a mistake than a wish.</summary>
    private static void RefuseWhatHasNoEffect(FedIcuClientOptions options, List<KeyValuePair<string, string>> settings, string? momentumPath)
    {
        string mask = settings.Find(setting => setting.Key == "mask").Value ?? "hard";
        if (settings.Exists(setting => setting.Key == "sigma") && mask != "noise")
            throw new RefusedException($"--set sigma has no effect with the mask '{mask}'; the mask 'noise' was expected.");
        if (options.Momentum == MomentumRule.None && momentumPath is not null)
            throw new RefusedException($"--momentum '{momentumPath}' has no effect with --set momentum=none.");
    }

    /// <summary>Takes <c>on-config</c> out of the settings: whether the base model's name is not compared.</summary>
    private static bool ReadIgnoreBase(List<KeyValuePair<string, string>> settings)
    {
        string[] values = [.. settings.Where(setting => setting.Key == "on-config").Select(setting => setting.Value)];
        settings.RemoveAll(setting => setting.Key == "on-config");
        return values switch
        {
            [] or ["reject"] => false,
            ["ignore-base"] => true,
            [var other] => throw new RefusedException($"--set on-config={other}: reject or ignore-base was expected."),
            _ => throw new RefusedException("--set on-config was given twice."),
        };
    }

    private static void CheckKinds(TensorSource global, TensorSource local, bool ignoreBase, string output, bool dense)
    {
        if (global is PeftAdapter received && local is PeftAdapter trained &&
            trained.Config.DescribeDisagreement(received.Config, ignoreBase) is { } difference)
        {
            throw new RefusedException($"--local '{local.Location}': its adapter_config.json disagrees with the global adapter's: {difference}.");
        }

        // the index of a sharded model has no place for packed values and masks, and PEFT finds none of its tensors beside an adapter's config
        if (global is ShardedModel or PeftAdapter && !dense && !output.EndsWith(".safetensors", StringComparison.Ordinal))
        {
            throw new RefusedException(
                $"--output '{output}': the packed update of {(global is PeftAdapter ? "an adapter" : "a sharded model")} is one file; " +
                "a name that ends in .safetensors, or --dense, was expected.");
        }

        bool isAdaptersFile = Path.GetFileName(output) == ModelFolder.AdapterModel &&
            File.Exists(Path.Combine(Path.GetDirectoryName(Path.GetFullPath(output)) ?? "", ModelFolder.AdapterConfig));
        if (isAdaptersFile && !dense)
            throw new RefusedException($"--output '{output}' is an adapter's file, which PEFT reads; another place, or --dense, was expected.");
    }

    private void Write(MaskReport report, string output)
    {
        var table = new ResultTable("tensor", ">entries", ">sent", ">share", ">bytes", ">of");
        foreach (TensorMaskReport tensor in report.Tensors)
        {
            table.Add(
                tensor.Name, Text.Count(tensor.Elements), Text.Count(tensor.Sent), Text.Percent(tensor.ShareSent), Text.Count(tensor.BytesSent), Text.Count(tensor.BytesFull));
        }

        Terminal.Table(table);
        Terminal.Line(report.ToString());
        Terminal.Verdict($"wrote {output}", good: true);
    }
}
