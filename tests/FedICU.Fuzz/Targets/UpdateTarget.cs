using System.Globalization;
using System.Text;
using FedICU.Fuzz.Generation;

namespace FedICU.Fuzz.Targets;

/// <summary>
/// Tests one of three clients, which sends a full, delta or sparse update with metadata. Whatever it sends, a round
/// whose policies drop faulty clients gives the mean with or without this client, and a round that is rejected keeps
/// the old output.
/// </summary>
internal sealed class UpdateTarget : FuzzTarget
{
    private static readonly string[] Weights = ["4", "1", "0", "-5", "nan", "NaN", "inf", "-inf", "1e400", "1e308", "9007199254740992",
        "9007199254740993", "0x10", "1,5", "", "abc", "1e-320"];

    public override string Name => "update";

    public override IReadOnlyList<FuzzPart> Generate(Choices choices)
    {
        ModelDraft draft = Rounds.Draft(choices.Between(1000, 1100));
        var metadata = new List<(string Key, string Value)>();
        if (!choices.OneIn(12))
            metadata.Add(("num_examples", choices.OneIn(2) ? "4" : choices.Of(Weights)));
        if (choices.OneIn(2))
            metadata.Add(("round", choices.OneIn(2) ? "7" : Literals.Text(choices)));
        int kind = choices.Below(3);
        if (kind > 0 || choices.OneIn(4))
            metadata.Add(("fedicu.update", ((string[])["full", "delta", "sparse"])[kind]));
        if (kind == 2 || choices.OneIn(3))
            metadata.Add(("fedicu.base", choices.OneIn(12) ? Literals.Text(choices) : Rounds.GlobalDigest));
        if (choices.OneIn(6))
            Retype(draft, choices);
        if (choices.OneIn(6))
            Spoil(draft, choices);
        if (kind == 2)
            draft = Pack(draft, metadata, choices);
        draft.Metadata.AddRange(metadata.Where(entry => ModelDraft.IsUnicode(entry.Value)));

        Json header = draft.Header(choices);
        for (int i = Mutations.Count(choices); i > 0; i--)
        {
            // mostly changes the metadata, because another target tests the format
            if (choices.OneIn(2) && header["__metadata__"] is { Children.Count: > 0 } metadataNode)
                Mutations.Mutate(metadataNode, choices);
            else if (choices.OneIn(3) && draft.Tensors.Count > 0)
                draft.Tensors.RemoveAt(choices.Below(draft.Tensors.Count));
            else
                Mutations.Mutate(header, choices);
        }

        byte[] file = ModelDraft.File(header.ToBytes(), draft.Data);
        return [new("b.safetensors", choices.OneIn(20) ? Mutations.Mutate(file, choices) : file),
            new("output", choices.OneIn(8) ? "file" : "memory")];
    }

    public override Outcome Check(FuzzInput input, FuzzPlace place, Caller library)
    {
        string path = place.Put("b.safetensors", input["b.safetensors"]);
        ClientUpdate[] updates = [Rounds.GoodUpdate("a"), ClientUpdate.FromFile("b", path), Rounds.GoodUpdate("c")];

        byte[]? rejecting = null;
        bool takesPart = false;
        string output = place["next.safetensors"];
        if (input.Text("output") == "file")
        {
            byte[] old = Rounds.GlobalDraft.ToBytes();
            place.Put("next.safetensors", old);
            if (Rounds.Run(library, new RoundOptions { Round = 7, Threads = 1 }, TensorSink.ToFile(output), updates,
                out RoundReport? report) is not null)
                place.CheckFiles(new(StringComparer.Ordinal) { ["b.safetensors"] = input["b.safetensors"], ["next.safetensors"] = old },
                    "a refused round");
            else
                (rejecting, takesPart) = (Read(output), TakesPart(report!));
        }
        else
        {
            using var sink = new MemorySink();
            if (Rounds.Run(library, new RoundOptions { Round = 7, Threads = 1 }, sink, updates, out RoundReport? report) is null)
                (rejecting, takesPart) = (Rounds.Bytes(sink.Model), TakesPart(report!));
        }

        return CheckDropping(library, updates, rejecting, takesPart, input["b.safetensors"]);
    }

    private static Outcome CheckDropping(Caller library, ClientUpdate[] updates, byte[]? rejecting, bool tookPart, byte[] file)
    {
        using var sink = new MemorySink();
        Exception? refusal = Rounds.Run(library, Rounds.DropEverything, sink, updates, out RoundReport? report);
        FuzzFailure.Unless(refusal is null, $"a round that drops faulty clients was refused: {refusal?.Message}",
            $"one client ends the round: {Words(refusal?.Message)}");
        byte[] mean = Rounds.Bytes(sink.Model);
        if (TakesPart(report!))
        {
            FuzzFailure.Unless(rejecting is not null && tookPart, "a round with reject policies refused a client that another accepts");
            FuzzFailure.Unless(mean.AsSpan().SequenceEqual(rejecting), "the policies change the result of valid clients");
            Oracle.MeanOracle.Check(
                mean, Rounds.GlobalDraft, [Rounds.GoodParameters("a"), Oracle.MeanOracle.Read(file, Rounds.GlobalDraft),
                    Rounds.GoodParameters("c")]);
            return Outcome.Accepted;
        }

        ClientReport dropped = report!.Clients.Single(client => client.Id == "b");
        FuzzFailure.Unless(dropped.Reason is not null, "a client was left out without a reason");
        FuzzFailure.Unless(mean.AsSpan().SequenceEqual(Rounds.MeanOfTwo),
            $"the result without the client is not the mean of the others; the reason was: {dropped.Reason}", "not the others' mean");
        return Outcome.Refused;
    }

    private static bool TakesPart(RoundReport report) => report.Clients.Single(client => client.Id == "b").Included;

    private static byte[] Read(string path)
    {
        using SafetensorsFile model = SafetensorsFile.Open(path);
        return Rounds.Bytes(model);
    }

    /// <summary>Removes from a sentence what differs from case to case.</summary>
    private static string Words(string? sentence) => string.Join(' ', (sentence ?? "").Split(' ').Where(word =>
        word.All(c => char.IsAsciiLetter(c) || c is ',' or '.' or ';')).Take(14));

    /// <summary>Replaces a tensor by one of another type, whose values may not fit the global model's type.</summary>
    private static void Retype(ModelDraft draft, Choices choices)
    {
        int at = choices.Below(draft.Tensors.Count);
        TensorDraft tensor = draft.Tensors[at];
        double scale = choices.Of([1.0, 1e4, 1e30, 1e300]);
        draft.Tensors[at] = ModelDraft.Tensor(tensor.Name, choices.Of(["F64", "F32", "F16", "BF16", "I32"]), tensor.Shape, _ =>
            choices.Value() * scale);
    }

    /// <summary>Replaces a tensor's bytes by arbitrary ones, which include NaN and infinities.</summary>
    private static void Spoil(ModelDraft draft, Choices choices)
    {
        int at = choices.Below(draft.Tensors.Count);
        TensorDraft tensor = draft.Tensors[at];
        int length = tensor.Data.Length;
        draft.Tensors[at] = tensor with { Data = choices.OneIn(2) ? choices.Bytes(length) : [.. Enumerable.Repeat((byte)0xff, length)] };
    }

    /// <summary>Packs some of the float tensors into values, a mask, and a shape in the metadata.</summary>
    private static ModelDraft Pack(ModelDraft draft, List<(string Key, string Value)> metadata, Choices choices)
    {
        var packed = new ModelDraft();
        foreach (TensorDraft tensor in draft.Tensors)
        {
            int count = (int)tensor.Shape.Aggregate(1L, (product, dimension) => product * dimension);
            if (!tensor.DType.Contains('F') || choices.OneIn(4))
            {
                packed.Tensors.Add(tensor);
                continue;
            }

            byte[] mask = new byte[(count + 7) / 8];
            int size = count == 0 ? 1 : tensor.Data.Length / count;
            var values = new List<byte>();
            for (int i = 0; i < count; i++)
            {
                if (choices.OneIn(2))
                    continue;
                mask[i / 8] |= (byte)(1 << i % 8);
                values.AddRange(tensor.Data.AsSpan(i * size, size));
            }

            if (choices.OneIn(12) && mask.Length > 0)
                mask[choices.Below(mask.Length)] ^= (byte)(1 << choices.Below(8));
            packed.Tensors.Add(new TensorDraft(tensor.Name + "#values", tensor.DType, [values.Count / size], [.. values]));
            packed.Tensors.Add(new TensorDraft(tensor.Name + "#mask", "U8", [mask.Length], mask));
            metadata.Add(("fedicu.shape." + tensor.Name, ShapeText(tensor.Shape, choices)));
        }

        return packed;
    }

    private static string ShapeText(long[] shape, Choices choices)
    {
        if (!choices.OneIn(6))
            return ModelDraft.Text(shape);
        if (choices.OneIn(2))
            return Literals.Text(choices);
        var text = new StringBuilder("[");
        for (int n = choices.Of([1, 2, 3, 65, 5000]); n > 0; n--)
            text.Append(CultureInfo.InvariantCulture, $"{(n > 3 ? "1" : choices.Of(Literals.Numbers))}{(n > 1 ? ", " : "]")}");
        return text.ToString();
    }
}
