using FedICU.Compute;
using FedICU.Model;
using FedICU.Panels;
using FedICU.Rounds.Checks;
using FedICU.Rounds.Lora;
using FedICU.Strategies.Abstractions;
using FedICU.Text;

namespace FedICU.Rounds;

/// <summary>
/// Makes the plan of a checked round: its clients, the tensors that are merged, and the tensors of the output.
/// </summary>
internal sealed class RoundPlanner(StageSequence stages, AggregationRound round, RoundCheck check)
{
    /// <summary>Creates the plan and asks every stage whether it can be computed.</summary>
    /// <param name="dropped">Tensors that keep the global model's value, with the reasons.</param>
    /// <param name="roundsFinished">The finished rounds of the server's state.</param>
    /// <exception cref="RoundRejectedException">A stage refuses it.</exception>
    public RoundPlan CreatePlan(IReadOnlyDictionary<string, string> dropped, long roundsFinished)
    {
        List<Participant> included = [.. check.Included];
        double total = included.Sum(participant => participant.Weight);
        RoundClient[] clients =
            [
                .. included.Select(participant => new RoundClient(participant.Id, participant.Weight, participant.Weight / total)
                {
                    Statements = participant.Statements,
                }),
            ];
        IReadOnlyList<TensorInfo> merged = round.Global.Tensors;
        if (merged.Any(tensor => !IsMerged(tensor)))
            merged = [.. merged.Where(IsMerged)];
        var plan = new RoundPlan(clients, merged, round.Options.Round, roundsFinished)
        {
            IsPrivate = stages.IsPrivate,
            HasState = round.State is not null,
        };
        foreach (Stage stage in stages.All)
            stage.Check(plan);
        return plan;

        bool IsMerged(TensorInfo tensor) => tensor.DType.IsComputed && !dropped.ContainsKey(tensor.Name);
    }

    /// <summary>Creates the run of a plan that no stage has changed yet.</summary>
    public RoundRun CreateRun(
        RoundPlan plan, IReadOnlyDictionary<string, string> dropped, RoundWork work, Workers workers, TensorSink output)
    {
        List<Participant> included = [.. check.Included];
        bool largerThanMemory = included.Sum(participant => participant.BytesInFiles) > GC.GetGCMemoryInfo().TotalAvailableMemoryBytes;
        var settings = new PassSettings(stages.Name, work.Backend, workers, output, work)
        {
            LargerThanMemory = largerThanMemory,
            ReadAhead = largerThanMemory ? new ReadAhead(round.Global, [.. included.Select(participant => participant.Source)]) : null,
            WritesOnDevice = RoundRun.IsOnDevice(work.Backend, output.Device),
        };
        return new RoundRun(round.Global, plan, plan.Clients, included, settings) { Dropped = dropped };
    }

    /// <summary>Decides the tensors of the output.</summary>
    /// <param name="plan">The plan, after all weightings.</param>
    /// <param name="pairs">The pairs, if the merge sees pairs: they may get another rank.</param>
    public IReadOnlyList<TensorInfo> CreateOutputs(RoundPlan plan, PairRound? pairs = null)
    {
        IReadOnlyList<TensorInfo> tensors = round.Global.Tensors;
        HashSet<string>? merged = ReferenceEquals(plan.Tensors, tensors)
            ? null : plan.Tensors.Select(tensor => tensor.Name).ToHashSet(StringComparer.Ordinal);
        TensorInfo[]? outputs = null;
        for (int i = 0; i < tensors.Count; i++)
        {
            bool isMerged = merged is null || merged.Contains(tensors[i].Name);
            TensorInfo output = pairs?.FindOutput(tensors[i].Name) ??
                GetOutput(isMerged ? RequireSameElements(stages.Merge, tensors[i], plan) : tensors[i], round.Options);
            if (!ReferenceEquals(output, tensors[i]))
                (outputs ??= [.. tensors])[i] = output;
        }

        return outputs ?? tensors;
    }

    /// <summary>
    /// Creates the output's metadata: the global model's without the keys of an update, and the round's number.
    /// </summary>
    public Dictionary<string, string> CreateMetadata()
    {
        var metadata = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach ((string key, string value) in round.Global.Metadata)
        {
            bool isOfUpdate = key is MetadataKeys.Update or MetadataKeys.Base or MetadataKeys.Examples or MetadataKeys.Round ||
                key.StartsWith(MetadataKeys.ShapePrefix, StringComparison.Ordinal);
            if (!isOfUpdate)
                metadata[key] = value;
        }

        if (round.Options.Round is { } number)
            metadata[MetadataKeys.Round] = number.ToString(System.Globalization.CultureInfo.InvariantCulture);
        return metadata;
    }

    /// <summary>
    /// Asks a merge for its output of a tensor. Its verbs write one output for each element of the global model.
    /// </summary>
    private static TensorInfo RequireSameElements(MergeRule merge, TensorInfo tensor, RoundPlan plan)
    {
        TensorInfo output = merge.GetOutput(tensor, plan);
        return output.Name == tensor.Name && output.DType.IsComputed && output.ElementCount == tensor.ElementCount
            ? output
            : throw new InvalidOperationException(
                $"Merge {Sentence.Quote(merge.RuleName)} has the output {output} for {tensor}; " +
                "a float tensor of the same name and number of elements was expected.");
    }

    /// <summary>Returns a float tensor in the type that the options ask for.</summary>
    public static TensorInfo GetOutput(TensorInfo tensor, RoundOptions options) =>
        tensor.DType.IsComputed && options.OutputDType is { } dtype && dtype != tensor.DType ? tensor with { DType = dtype } : tensor;
}
