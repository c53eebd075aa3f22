using System.CommandLine;
using FedICU.Compute;
using FedICU.Files;

namespace FedICU.Cli;

/// <summary>
/// The command <c>fedicu mask</c>: makes the update that a client sends. The update holds the entries of the trained
/// model that are more important than those of the received model.
/// </summary>
internal sealed class MaskCommand : FedIcuCommand
{
    private readonly Option<string> _global = Flags.Required("--global", "MODEL", "The model as received.");
    private readonly Option<string> _local = Flags.Required("--local", "MODEL", "The model as trained.");
    private readonly Option<string?> _momentum = Flags.Optional(
        "--momentum", "IN", "The previous round's momentum; omit it in the first round. Without it, only this round's change decides.");
    private readonly Option<string?> _momentumOut =
        Flags.Optional("--momentum-out", "OUT", "Saves the new momentum for the next round.");
    private readonly Option<string> _output =
        Flags.Required("--output", "OUT", "The update: a .safetensors file, or a folder of the global model's kind.");
    private readonly Option<string?> _mask = Flags.Mask();
    private readonly Option<bool> _dense = Flags.Switch("--dense", "Writes the masked model as ordinary tensors.");
    private readonly Option<string[]> _settings =
        Flags.Settings("preset, beta, importance, fill, seed, sigma, momentum, mask, on-config");
    private readonly Option<string?> _round = Flags.Round(
        "The round's number, stored with the update and the momentum. " +
        "Default: the round in the trained model's metadata, else in the received model's.");
    private readonly Option<string?> _backend = Flags.Backend();
    private readonly Option<string?> _threads = Flags.Threads();
    private readonly Option<bool> _replace = Flags.Replace();
    private readonly Option<bool> _followLinks = Flags.FollowLinks();

    public MaskCommand(Terminal terminal)
        : base(
            "mask", "Makes a client's sparse update: the trained model's entries that are more important than the received model's.",
            terminal)
    {
        ReadOnlySpan<Option> options =
        [
            _global, _local, _momentum, _momentumOut, _output, _mask, _dense, _round, _settings, _backend, _threads, _replace, _followLinks,
        ];
        foreach (Option option in options)
            Add(option);
    }

    public override IReadOnlyList<string> Examples =>
    [
        "fedicu mask --global global.safetensors --local trained.safetensors --output update.safetensors",
        "fedicu mask --global base/ --local trained/ --mask top=0.1 --set importance=rank --output update.safetensors",
        "fedicu mask --global base/ --local trained/ --mask soft --dense --output masked/",
    ];

    protected override Task<int> RunAsync(ParseResult line, CancellationToken cancellationToken) =>
        Task.Run(() => MaskAsync(line, cancellationToken), cancellationToken);

    private async Task<int> MaskAsync(ParseResult line, CancellationToken cancellationToken)
    {
        string globalPath = line.GetRequiredValue(_global), localPath = line.GetRequiredValue(_local);
        IClientBackend backend = Flags.ReadBackend(line.GetValue(_backend), Terminal, [globalPath, localPath]);
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
        string output = Paths.ReadOutput("--output", line.GetRequiredValue(_output));
        string? momentumPath = line.GetValue(_momentum), momentumOut = line.GetValue(_momentumOut);
        RefuseValuesWithoutEffect(options, settings, momentumPath);
        if (momentumOut is not null)
            Paths.ReadOutput("--momentum-out", momentumOut);
        (string, string?)[] models = [("the received model", globalPath), ("the trained model", localPath)];
        Paths.RefuseOverwriting("--output", output, [.. models, ("the momentum", momentumPath)]);
        // the new momentum may replace the old one
        Paths.RefuseOverwriting("--momentum-out", momentumOut, [.. models, ("the output", output)]);

        using TensorSource global = Paths.Open("--global", globalPath);
        using TensorSource local = Paths.Open("--local", localPath);
        using TensorSource? momentum = momentumPath is null ? null : Paths.Open("--momentum", momentumPath);
        CheckKinds(global, local, ignoreBase, output, dense || options.Mask == MaskRule.GaussianNoise || options.Fill == MaskFill.Zero);
        var outputs = new OutputOptions { Replace = line.GetValue(_replace), FollowLinks = line.GetValue(_followLinks) };
        MaskReport report = await Terminal.WithProgressAsync(progress =>
        {
            var client = new FedIcuClient(options with { Progress = progress });
            TensorSink update = TensorSink.To(output, global, outputs);
            TensorSink? newMomentum = momentumOut is null ? null : TensorSink.To(momentumOut, global, outputs);
            return Task.FromResult(
                client.CreateUpdate(global, local, update, momentum, newMomentum, dense, backend, cancellationToken));
        });
        Write(report, Paths.OutputFile(output, global));
        return ExitCode.Done;
    }

    /// <summary>
    /// Refuses values that have no effect with the other options: they are more likely mistakes than intended.
    /// </summary>
    private static void RefuseValuesWithoutEffect(
        FedIcuClientOptions options, List<KeyValuePair<string, string>> settings, string? momentumPath)
    {
        string mask = settings.Find(setting => setting.Key == "mask").Value ?? "hard";
        if (Sets("sigma") && mask != "noise" || Sets("seed") && options.Mask != MaskRule.GaussianNoise)
        {
            throw new RefusedException(
                $"--set {(Sets("sigma") ? "sigma" : "seed")} has no effect with the mask '{mask}'; the mask 'noise' was expected.");
        }

        if (Sets("beta") && options.Momentum != MomentumRule.Ema)
            throw new RefusedException("--set beta has no effect without --set momentum=ema.");
        if (options.Momentum == MomentumRule.None && momentumPath is not null)
            throw new RefusedException($"--momentum '{momentumPath}' has no effect with --set momentum=none.");

        bool Sets(string name) => settings.Exists(setting => setting.Key == name);
    }

    /// <summary>
    /// Removes <c>on-config</c> from the settings and returns whether it says to ignore the base model's name.
    /// </summary>
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
            throw new RefusedException(
                $"--local '{local.Location}': its adapter_config.json disagrees with the global adapter's: {difference}.");
        }

        // a sharded model's index does not list packed values and masks, and PEFT cannot load them as an adapter's
        // tensors
        if (global is ShardedModel or PeftAdapter && !dense && !output.EndsWith(".safetensors", StringComparison.Ordinal))
        {
            throw new RefusedException(
                $"--output '{output}': the packed update of {(global is PeftAdapter ? "an adapter" : "a sharded model")} is one file; " +
                "a name that ends in .safetensors, or --dense, was expected.");
        }

        bool isAdapterFile = Path.GetFileName(output) == ModelFolder.AdapterModel &&
            File.Exists(Path.Combine(Path.GetDirectoryName(Path.GetFullPath(output)) ?? "", ModelFolder.AdapterConfig));
        if (isAdapterFile && !dense)
        {
            throw new RefusedException(
                $"--output '{output}' is an adapter's file, which PEFT reads; another path, or --dense, was expected.");
        }
    }

    private void Write(MaskReport report, string output)
    {
        var table = new ResultTable("tensor", ">entries", ">sent", ">share", ">bytes", ">of");
        foreach (TensorMaskReport tensor in report.Tensors)
        {
            table.Add(
                tensor.Name, Text.Count(tensor.Elements), Text.Count(tensor.Sent), Text.Percent(tensor.ShareSent),
                Text.Count(tensor.BytesSent), Text.Count(tensor.BytesFull));
        }

        Terminal.Table(table);
        Terminal.Line(report.ToString());
        Terminal.Verdict($"wrote {output}", good: true);
    }
}
