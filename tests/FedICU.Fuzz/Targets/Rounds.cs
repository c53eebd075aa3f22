using System.Reflection;
using FedICU.Fuzz.Generation;
using FedICU.Fuzz.Oracle;

namespace FedICU.Fuzz.Targets;

/// <summary>Creates and runs rounds of three: a global model, two valid clients, and a client under test.</summary>
internal static class Rounds
{
    /// <summary>The global model before the round.</summary>
    public static ModelDraft GlobalDraft { get; } = Draft(1);

    public static MemoryModel Global { get; } = ToModel(GlobalDraft);

    public static string GlobalDigest { get; } = ModelDigest.Compute(Global);

    /// <summary>
    /// The options by which every fault of a client drops the client, and one client is enough. Such a round must not
    /// fail because of one client.
    /// </summary>
    public static RoundOptions DropEverything { get; } = WithDropClient(new RoundOptions { Quorum = 1, Round = 7, Threads = 1 });

    /// <summary>The mean of the two valid clients.</summary>
    public static byte[] MeanOfTwo { get; } = Mean();

    /// <summary>Creates a client's valid model.</summary>
    public static MemoryModel Good(string id) => ToModel(Draft(id[0]), ("num_examples", Examples(id)), ("round", "7"));

    /// <summary>Reads the valid client's parameters for the oracle.</summary>
    public static MeanOracle.Update GoodParameters(string id)
    {
        ModelDraft draft = Draft(id[0]);
        draft.Metadata.Add(("num_examples", Examples(id)));
        return MeanOracle.Read(draft.ToBytes(), GlobalDraft);
    }

    public static ClientUpdate GoodUpdate(string id) => ClientUpdate.FromTensors(id, Good(id));

    /// <summary>Creates a model with the global model's layout and other values.</summary>
    public static ModelDraft Draft(int seed)
    {
        var choices = new Choices((ulong)seed, "model", 0);
        return new ModelDraft
        {
            Tensors =
            [
                ModelDraft.Tensor("w.weight", "F32", [3, 4], _ => choices.Value()),
                ModelDraft.Tensor("b.bias", "F16", [5], _ => choices.Value()),
                ModelDraft.Tensor("h.weight", "F64", [2, 2], _ => choices.Value()),
                ModelDraft.Tensor("e.weight", "BF16", [9], _ => choices.Value()),
                ModelDraft.Tensor("steps", "I64", [], _ => choices.Below(100)),
                ModelDraft.Tensor("none", "F32", [0, 3], _ => 0),
            ],
        };
    }

    /// <summary>Runs a round.</summary>
    /// <returns>The documented refusal, or null.</returns>
    public static Exception? Run(
        Caller library, RoundOptions options, TensorSink output, IEnumerable<ClientUpdate> updates, out RoundReport? report,
        IAggregator? aggregator = null, TensorSource? global = null)
    {
        var round = new AggregationRound(global ?? Global, options);
        foreach (ClientUpdate update in updates)
            round.Add(update);
        aggregator ??= new FedAvgAggregator();
        AggregationResult? result = library.Get(
            "AggregateAsync", () => aggregator.AggregateAsync(round, output).GetAwaiter().GetResult(), out Exception? refusal);
        report = result?.Report;
        foreach (string sentence in report is null ? [] : Sentences(report))
            Caller.CheckSentence(sentence, "the report", "RoundReport");
        return refusal;
    }

    public static byte[] Bytes(TensorSource model) => [.. model.Tensors.SelectMany(tensor =>
    {
        byte[] bytes = new byte[tensor.ByteLength];
        model.Read(tensor, 0, bytes);
        return bytes;
    })];

    public static MemoryModel ToModel(ModelDraft draft, params (string Key, string Value)[] metadata)
    {
        var model = new MemoryModel(metadata.ToDictionary(entry => entry.Key, entry => entry.Value, StringComparer.Ordinal));
        foreach (TensorDraft tensor in draft.Tensors)
        {
            if (!DTypeExtensions.TryParseSafetensorsName(tensor.DType, out DType dtype))
                throw new ArgumentException($"There is no type {tensor.DType}.", nameof(draft));
            model.Add(new TensorInfo(tensor.Name, dtype, new TensorShape(tensor.Shape)), tensor.Data);
        }

        return model;
    }

    /// <summary>
    /// Copies the options and sets every policy that can drop a client to do so, including policies that later versions
    /// add.
    /// </summary>
    public static RoundOptions WithDropClient(RoundOptions options)
    {
        RoundOptions copy = options with { };
        foreach (PropertyInfo policy in typeof(RoundOptions).GetProperties().Where(property => property.PropertyType.IsEnum))
        {
            if (Enum.TryParse(policy.PropertyType, nameof(FaultPolicy.DropClient), out object? drop))
                policy.SetValue(copy, drop);
        }

        return copy;
    }

    private static IEnumerable<string> Sentences(RoundReport report) =>
        [.. report.Notes, .. report.Clients.Select(client => client.Reason).OfType<string>(),
            .. report.Tensors.Select(tensor => tensor.Reason).OfType<string>()];

    private static string Examples(string id) => id == "a" ? "3" : "5";

    private static byte[] Mean()
    {
        using var sink = new MemorySink();
        var round = new AggregationRound(Global, DropEverything) { GoodUpdate("a"), GoodUpdate("c") };
        new FedAvgAggregator().AggregateAsync(round, sink).GetAwaiter().GetResult();
        MeanOracle.Check(Bytes(sink.Model), GlobalDraft, [GoodParameters("a"), GoodParameters("c")]);
        return Bytes(sink.Model);
    }
}
