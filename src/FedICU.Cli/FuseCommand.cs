using System.CommandLine;

namespace FedICU.Cli;

/// <summary>The command <c>fedicu fuse</c>: writes a base model with an adapter in its weights.</summary>
internal sealed class FuseCommand : FedIcuCommand
{
    private readonly Option<string> _base = Flags.Required("--base", "MODEL", "The base model.");
    private readonly Option<string> _adapter = Flags.Required("--adapter", "ADAPTER", "An adapter's folder, or its safetensors file.");
    private readonly Option<string> _output = Flags.Required(
        "--output", "OUT", "The fused model: a folder of the base model's kind, or a .safetensors file.");
    private readonly Option<string?> _scale = Flags.Optional("--scale", "X", "A factor of the adapter's products. Default: 1.");
    private readonly Option<string?> _scaling = LoraFlags.Scaling();
    private readonly Option<string?> _dtype =
        Flags.Optional("--dtype", "TYPE", "The output's type: f32, f16, bf16 or f64. Default: the base model's.");
    private readonly Option<string?> _threads = Flags.Threads();
    private readonly Option<bool> _replace = Flags.Replace();
    private readonly Option<bool> _followLinks = Flags.FollowLinks();

    public FuseCommand(Terminal terminal)
        : base("fuse", "Writes a base model with a LoRA adapter in its weights: W + s B A, in the base model's type.", terminal)
    {
        foreach (Option option in (ReadOnlySpan<Option>)
            [_base, _adapter, _output, _scale, _scaling, _dtype, _threads, _replace, _followLinks])
        {
            Add(option);
        }
    }

    public override IReadOnlyList<string> Examples => ["fedicu fuse --base llama/ --adapter adapter/ --output fused/"];

    protected override async Task<int> RunAsync(ParseResult line, CancellationToken cancellationToken)
    {
        string basePath = line.GetRequiredValue(_base), adapterPath = line.GetRequiredValue(_adapter);
        string output = line.GetRequiredValue(_output);
        DType? dtype = Flags.ReadDType(line.GetValue(_dtype));
        var options = new FusionOptions
        {
            Scale = LoraFlags.ReadNumber("--scale", line.GetValue(_scale)) ?? 1,
            LoraScaling = LoraFlags.ReadNumber("--scaling", line.GetValue(_scaling)),
            OutputDType = dtype,
            Threads = Flags.ReadThreads(line.GetValue(_threads)),
        };
        var outputOptions = new OutputOptions { Replace = line.GetValue(_replace), FollowLinks = line.GetValue(_followLinks) };
        Paths.RefuseOverwriting(
            "--output", Paths.ReadOutput("--output", output), [("the base model", basePath), ("the adapter", adapterPath)]);

        using TensorSource baseModel = Paths.Open("--base", basePath);
        using TensorSource adapter = Paths.Open("--adapter", adapterPath);
        CompanionFiles companions = CompanionFiles.Find("--base", basePath, output, outputOptions, dtype, mayUntie: true);
        FusionReport report = await Terminal.WithProgressAsync(progress => Task.Run(
            () => AdapterFusion.Fuse(
                baseModel, adapter, TensorSink.To(output, baseModel, outputOptions), options with { Progress = progress },
                cancellationToken),
            cancellationToken));
        IReadOnlyList<string> copied = companions.Copy(unties: report.Added.Count > 0);
        if (report.Replaced.Count > 0)
            Terminal.Line($"from the adapter as they are: {string.Join(", ", report.Replaced)}");
        if (report.Added.Count > 0)
        {
            string config = copied.Contains(ModelConfig.FileName) ? "now has" : "must have";
            Terminal.Line(
                $"no longer tied to the embedding: {string.Join(", ", report.Added)}; the model's configuration {config} " +
                "tie_word_embeddings false");
        }

        if (copied.Count > 0)
            Terminal.Line($"copied from the base model: {string.Join(", ", copied)}");
        Terminal.Verdict(
            $"{Text.Count(report.Fused.Count, "weight")} with s B A: wrote {Paths.OutputFile(output, baseModel)}", good: true);
        return ExitCode.Done;
    }
}
