using FedICU.Fuzz.Generation;
using FedICU.Fuzz.Oracle;

namespace FedICU.Fuzz.Targets;

/// <summary>
/// Tests an index and its shards. An unchanged model must open, an opened model must have exactly the shards' contents,
/// and it can be written and opened again.
/// </summary>
internal sealed class ShardedTarget : FuzzTarget
{
    private static readonly string[] ShardNames =
    [
        "../x.safetensors", "/x.safetensors", "a/b.safetensors", "a\\b.safetensors", "\0.safetensors", ".safetensors",
        ShardName(0, 1), ShardName(0, 2), new string('n', 300) + ".safetensors",
    ];

    private const string Index = "in/model.safetensors.index.json";

    public override string Name => "sharded";

    public override IReadOnlyList<FuzzPart> Generate(Choices choices)
    {
        ModelDraft model = ModelDraft.Random(choices);
        int count = choices.Between(1, 3);
        ModelDraft[] shards = [.. Enumerable.Range(0, count).Select(_ => new ModelDraft { Metadata = [.. model.Metadata] })];
        Json map = Json.Object();
        foreach (TensorDraft tensor in model.Tensors)
        {
            int shard = choices.Below(count);
            shards[shard].Tensors.Add(tensor);
            map.Add(tensor.Name, Json.Text(ShardName(shard, count)));
        }

        Json index = Json.Object(("metadata", Json.Object(("total_size", Json.Number(model.Data.Length)),
            ("note", Json.Array(Json.Text("\u00e4"), Json.Value("null"))))), ("weight_map", map));
        int changes = Mutations.Count(choices);
        bool changesIndex = choices.Below(3) > 0;
        for (int i = 0; changesIndex && i < changes; i++)
        {
            if (choices.OneIn(4) && map.Children.Count > 0)
                choices.Of(map.Children).Value.Literal = Json.Quote(choices.Of(ShardNames));
            else
                Mutations.Mutate(index, choices);
        }

        var parts = new List<FuzzPart> { new("changes", changes == 0 ? "none" : "some"),
            new(Index, changesIndex && choices.OneIn(10) ? Mutations.Mutate(index.ToBytes(), choices) : index.ToBytes()) };
        if (changesIndex)
            parts[0] = new("changes", "some");
        for (int i = 0; i < count; i++)
        {
            byte[] file = shards[i].ToBytes();
            for (int n = changesIndex || i > 0 ? 0 : changes; n > 0; n--)
                file = Mutations.Mutate(file, choices);
            if (shards[i].Tensors.Count > 0 && (changes == 0 || !choices.OneIn(20)))
                parts.Add(new("in/" + ShardName(i, count), file));
        }

        return parts;
    }

    public override Outcome Check(FuzzInput input, FuzzPlace place, Caller library)
    {
        place.PutAll(input, "in/");
        SortedDictionary<string, byte[]> before = place.Files();
        using TensorSource? model = library.Get("TensorSource.Open", () => TensorSource.Open(place["in"]), out Exception? refusal);
        if (model is null)
        {
            FuzzFailure.Unless(input.Text("changes") != "none", $"a valid sharded model was refused: {refusal!.Message}",
                "refuses a valid sharded model");
            place.CheckFiles(before, "a refusal");
            return Outcome.Refused;
        }

        var sharded = (ShardedModel)model;
        CheckShards(sharded, input, library);
        SaveAgain(sharded, place, library);
        return Outcome.Accepted;
    }

    /// <summary>
    /// Checks that every shard of the index follows the format's rules, and that the model has all tensors of all
    /// shards.
    /// </summary>
    private static void CheckShards(ShardedModel model, FuzzInput input, Caller library)
    {
        JsonValue? index = StrictJson.Parse(input[Index], trailing: " \t\r\n");
        FuzzFailure.Unless(index is not null, "an index that is not valid JSON was opened");
        JsonValue map = index!.Children.Single(child => child.Key == "weight_map").Value;
        FuzzFailure.Unless(map.Children.Select(child => child.Key).ToHashSet().SetEquals(model.Tensors.Select(tensor => tensor.Name)),
            "other tensors than the index names");
        foreach (string shard in map.Children.Select(child => child.Value.Text).Distinct())
        {
            byte[] file = input["in/" + shard];
            Verdict verdict = SafetensorsOracle.Judge(file);
            FuzzFailure.Unless(verdict.Accepts, $"the shard '{shard}' breaks the rule '{verdict.Refusal ?? verdict.Stricter}'",
                "opens an invalid shard");
            foreach (OracleTensor expected in verdict.Tensors)
            {
                TensorInfo? tensor = model.Find(expected.Name);
                bool isFound = tensor is not null && model.WeightMap[expected.Name] == shard;
                FuzzFailure.Unless(isFound, $"the tensor '{expected.Name}' of '{shard}' is not found", "a tensor is not found");
                byte[] bytes = new byte[tensor!.ByteLength];
                library.Try("Read", () => model.Read(tensor, 0, bytes));
                int start = file.Length - (int)verdict.Tensors.Max(other => other.End) + (int)expected.Start;
                FuzzFailure.Unless(bytes.AsSpan().SequenceEqual(file.AsSpan(start, bytes.Length)), "other bytes were read");
            }
        }
    }

    private static void SaveAgain(ShardedModel model, FuzzPlace place, Caller library)
    {
        Exception? refusal = library.Try("SaveTo", () => model.SaveTo(TensorSink.To(place["out"], model)));
        FuzzFailure.Unless(refusal is null, $"an opened model cannot be written: {refusal?.Message}",
            "an opened sharded model cannot be written");
        using TensorSource? again = library.Get("TensorSource.Open", () => TensorSource.Open(place["out"]), out refusal);
        FuzzFailure.Unless(
            again is not null, $"a written sharded model is refused: {refusal?.Message}", "a written sharded model is refused");
        FuzzFailure.Unless(ModelDigest.Compute(model) == ModelDigest.Compute(again!), "the copy has another digest");
        FuzzFailure.Unless(
            !Directory.EnumerateFileSystemEntries(place["out"]).Any(entry =>
                Path.GetFileName(entry) is var name && name.StartsWith('.') && !name.EndsWith(".fedicu-lock", StringComparison.Ordinal)),
            "temporary files are left beside the copy");
    }

    private static string ShardName(int shard, int count) => $"model-{shard + 1:d5}-of-{count:d5}.safetensors";
}
