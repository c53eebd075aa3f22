using System.CommandLine;
using FedICU.Cli.Json;
using FedICU.Panels;

namespace FedICU.Cli;

/// <summary>The command <c>fedicu inspect</c>: shows the contents of a model.</summary>
internal sealed class InspectCommand : FedIcuCommand
{
    private readonly Argument<string> _model = new("MODEL") { Description = Flags.ModelForms };
    private readonly Option<bool> _statistics =
        Flags.Switch("--stats", "Shows each tensor's norm, mean and range, and counts the values that are not finite.");
    private readonly Option<bool> _json = Flags.Json();

    public InspectCommand(Terminal terminal) : base("inspect", "Shows a model's tensors, metadata and digest.", terminal)
    {
        Add(_model);
        Add(_statistics);
        Add(_json);
    }

    public override IReadOnlyList<string> Examples => ["fedicu inspect model.safetensors --stats", "fedicu inspect adapter/ --json"];

    protected override Task<int> RunAsync(ParseResult line, CancellationToken cancellationToken) =>
        Task.Run(() => Run(line, cancellationToken), cancellationToken);

    private int Run(ParseResult line, CancellationToken cancellationToken)
    {
        using TensorSource model = Paths.Open("MODEL", line.GetRequiredValue(_model));
        bool withStatistics = line.GetValue(_statistics);
        List<TensorStatistics?> statistics = [.. model.Tensors.Select(tensor =>
            withStatistics && !IsMask(model, tensor) ? ModelStatistics.Measure(model, tensor, cancellationToken) : null)];
        string digest = ModelDigest.Compute(model, cancellationToken);

        long elements = model.Tensors.Sum(tensor => tensor.ElementCount);
        long bytes = model.Tensors.Sum(tensor => tensor.ByteLength);
        if (line.GetValue(_json))
        {
            var metadata = new SortedDictionary<string, string>(model.Metadata.ToDictionary(), StringComparer.Ordinal);
            Terminal.Json(
                new InspectedModel(
                    line.GetRequiredValue(_model), Kind(model), digest, elements, bytes, metadata,
                    [.. model.Tensors.Zip(statistics, Describe)]),
                CliJson.Default.InspectedModel);
            return ExitCode.Done;
        }

        Terminal.Line($"{model.Location}: {Kind(model)}");
        Terminal.Table(withStatistics ? WithStatistics(model, statistics) : Plain(model));
        foreach ((string key, string value) in model.Metadata.OrderBy(entry => entry.Key, StringComparer.Ordinal))
            Terminal.Line($"metadata {key}: {value}");
        Terminal.Line($"{Text.Count(model.Tensors.Count, "tensor")}, {Text.Count(elements, "element")}, {Text.Bytes(bytes)}");
        if (withStatistics)
            WriteNonFinite(statistics.Sum(tensor => tensor?.NonFinite ?? 0));
        Terminal.Line($"digest {digest}");
        return ExitCode.Done;
    }

    private static string Kind(TensorSource model) => model switch
    {
        PeftAdapter adapter => adapter.Config.ToString(),
        ShardedModel sharded => $"sharded model of {Text.Count(sharded.ShardNames.Count, "file")}",
        _ => "safetensors file",
    };

    /// <summary>Whether a tensor holds the bits of a packed update's mask, which have no meaning as numbers.</summary>
    private static bool IsMask(TensorSource model, TensorInfo tensor) =>
        model.Metadata.GetValueOrDefault(MetadataKeys.Update) == "sparse" && tensor.DType == DType.U8 &&
        tensor.Name.EndsWith(SparseUpdate.MaskSuffix, StringComparison.Ordinal);

    private static InspectedTensor Describe(TensorInfo tensor, TensorStatistics? figures) => new(
        tensor.Name, tensor.DType.SafetensorsName, [.. tensor.Shape.Dimensions], tensor.ElementCount, tensor.ByteLength, figures?.Norm,
        figures?.Mean, figures?.Minimum, figures?.Maximum, figures?.NonFinite);

    private static ResultTable Plain(TensorSource model)
    {
        var table = new ResultTable("tensor", "type", "shape", ">elements", ">bytes");
        foreach (TensorInfo tensor in model.Tensors)
        {
            table.Add(
                tensor.Name, tensor.DType.SafetensorsName, tensor.Shape.ToString(), Text.Count(tensor.ElementCount),
                Text.Count(tensor.ByteLength));
        }

        return table;
    }

    private static ResultTable WithStatistics(TensorSource model, List<TensorStatistics?> statistics)
    {
        var table = new ResultTable("tensor", "type", "shape", ">elements", ">norm", ">mean", ">min", ">max", ">not finite");
        foreach ((TensorInfo tensor, TensorStatistics? figures) in model.Tensors.Zip(statistics))
        {
            table.Add(
                tensor.Name, tensor.DType.SafetensorsName, tensor.Shape.ToString(), Text.Count(tensor.ElementCount),
                Text.Number(figures?.Norm), Text.Number(figures?.Mean), Text.Number(figures?.Minimum), Text.Number(figures?.Maximum),
                Text.Count(figures?.NonFinite));
        }

        return table;
    }

    private void WriteNonFinite(long count)
    {
        if (count > 0)
            Terminal.Verdict($"{Text.Count(count, "value")} {(count == 1 ? "is" : "are")} NaN or infinite", good: false);
        else
            Terminal.Line("all values are finite");
    }
}
