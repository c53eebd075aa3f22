using System.CommandLine;
using System.Globalization;

namespace FedICU.Cli;

/// <summary>The command <c>fedicu adapt</c>: cuts a LoRA adapter to a rank.</summary>
internal sealed class AdaptCommand : FedIcuCommand
{
    private readonly Argument<string> _adapter = new("ADAPTER") { Description = "An adapter's folder, or its safetensors file." };
    private readonly Option<string> _rank = Flags.Required("--rank", "R", "The rank that is written, at least 1.");
    private readonly Option<string> _output = Flags.Required("--output", "OUT", "The new adapter: a folder, or a .safetensors file.");
    private readonly Option<string?> _split = Flags.Optional(
        "--split", "FACTOR", "Which factor carries the singular values: balanced (both their roots), b or a. Default: balanced.");
    private readonly Option<string?> _scaling = LoraFlags.Scaling();
    private readonly Option<string?> _threads = Flags.Threads();
    private readonly Option<bool> _replace = Flags.Replace();
    private readonly Option<bool> _followLinks = Flags.FollowLinks();

    public AdaptCommand(Terminal terminal) : base("adapt", "Cuts a LoRA adapter to a rank, and shows the error of each pair.", terminal)
    {
        Add(_adapter);
        foreach (Option option in (ReadOnlySpan<Option>)[_rank, _output, _split, _scaling, _threads, _replace, _followLinks])
            Add(option);
    }

    public override IReadOnlyList<string> Examples => ["fedicu adapt adapter/ --rank 8 --output small/"];

    protected override async Task<int> RunAsync(ParseResult line, CancellationToken cancellationToken)
    {
        string path = line.GetRequiredValue(_adapter), output = line.GetRequiredValue(_output);
        FactorSplit split = line.GetValue(_split) switch
        {
            null or "balanced" => FactorSplit.Balanced,
            "b" => FactorSplit.B,
            "a" => FactorSplit.A,
            var other => throw new UsageException($"The split '{other}' is unknown; balanced, b or a was expected."),
        };
        string rankText = line.GetRequiredValue(_rank);
        if (!int.TryParse(rankText, NumberStyles.None, CultureInfo.InvariantCulture, out int rank) || rank < 1)
            throw new RefusedException($"--rank is '{rankText}'; a whole number of at least 1 was expected.");
        var options = new FlexLoraOptions { Split = split, LoraScaling = LoraFlags.ReadNumber("--scaling", line.GetValue(_scaling)) };
        var outputOptions = new OutputOptions { Replace = line.GetValue(_replace), FollowLinks = line.GetValue(_followLinks) };
        Paths.RefuseOverwriting("--output", Paths.ReadOutput("--output", output), [("the adapter", path)]);

        using TensorSource adapter = Paths.Open("ADAPTER", path);
        AggregationResult result = await AdapterCut.CutAsync(
            adapter, rank, TensorSink.To(output, adapter, outputOptions), options, Flags.ReadThreads(line.GetValue(_threads)),
            cancellationToken);
        var table = new ResultTable("module", ">rank", ">error", ">of the product");
        foreach (LoraPairReport pair in result.Report.LoraPairs)
            table.Add(pair.Name, Text.Count(pair.Rank), Text.Number(pair.Error), Text.Percent(pair.RelativeError));
        Terminal.Line("error: ||s B A - s' B' A'|| of each pair");
        Terminal.Table(table);
        foreach (string note in result.Report.Notes.Where(note => note.StartsWith("The new adapter", StringComparison.Ordinal)))
            Terminal.Line("note: " + note);
        double worst = result.Report.LoraPairs.Max(pair => pair.RelativeError ?? 0);
        Terminal.Verdict(
            $"{Text.Count(result.Report.LoraPairs.Count, "pair")}, largest relative error {Text.Percent(worst)}: " +
            $"wrote {Paths.OutputFile(output, adapter)}",
            good: true);
        return ExitCode.Done;
    }
}
