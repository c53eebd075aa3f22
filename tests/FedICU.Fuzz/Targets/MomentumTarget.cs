using FedICU.Fuzz.Generation;

namespace FedICU.Fuzz.Targets;

/// <summary>Tests a client's momentum of the previous round, and its trained model.</summary>
internal sealed class MomentumTarget : FuzzTarget
{
    public override string Name => "momentum";

    public override IReadOnlyList<FuzzPart> Generate(Choices choices)
    {
        ModelDraft local = Rounds.Draft(choices.Between(1000, 1100)), momentum = Momentum(choices.Between(1000, 1100));
        momentum.Metadata.AddRange([("fedicu.state", "momentum"), ("fedicu.base", Rounds.GlobalDigest),
            ("round", choices.Of(["6", "7", "8", "-1"]))]);
        if (choices.OneIn(2))
            local.Metadata.Add(("round", choices.OneIn(6) ? choices.Of(Literals.Numbers) : "7"));
        Json ofMomentum = momentum.Header(choices), ofLocal = local.Header(choices);
        for (int i = Mutations.Count(choices); i > 0; i--)
            Mutations.Mutate(choices.OneIn(3) ? ofLocal : choices.OneIn(2) ? ofMomentum : ofMomentum["__metadata__"] ?? ofMomentum,
                choices);
        return
        [
            new("momentum.safetensors", ModelDraft.File(ofMomentum.ToBytes(), momentum.Data)),
            new("local.safetensors", ModelDraft.File(ofLocal.ToBytes(), local.Data)),
            new("mask", choices.Of(["hard", "soft", "top=0.3", "noise=0.1"])), new("importance", choices.Of(["zscore", "minmax", "rank"])),
            new("dense", choices.OneIn(2) ? "yes" : "no"),
        ];
    }

    public override Outcome Check(FuzzInput input, FuzzPlace place, Caller library)
    {
        place.PutAll(input, "momentum.");
        place.PutAll(input, "local.");
        using TensorSource? momentum = library.Get("TensorSource.Open", () => TensorSource.Open(place["momentum.safetensors"]), out _);
        using TensorSource? local = library.Get("TensorSource.Open", () => TensorSource.Open(place["local.safetensors"]), out _);
        if (momentum is null || local is null)
            return Outcome.Refused;
        KeyValuePair<string, string>[] settings = [new("mask", input.Text("mask")), new("importance", input.Text("importance"))];
        FedIcuClientOptions options = FedIcuClientOptions.FromSettings(settings) with { Threads = 1 };
        using MemorySink update = new(), next = new();
        Exception? refusal = library.Try("CreateUpdate", () =>
            new FedIcuClient(options).CreateUpdate(Rounds.Global, local, update, momentum, next, input.Text("dense") == "yes"),
            freeBytes: Caller.FreeBytesOfMasks);
        if (refusal is not null)
        {
            FuzzFailure.Unless(!HasModel(update) && !HasModel(next), "a refused update left an output");
            return Outcome.Refused;
        }

        // a round accepts the update of a client, or refuses it because its values overflow
        using var sink = new MemorySink();
        Rounds.Run(library, Rounds.DropEverything, sink, [Rounds.GoodUpdate("a"), ClientUpdate.FromTensors("b", update.Model, examples: 1)],
            out _);
        return Outcome.Accepted;
    }

    private static bool HasModel(MemorySink sink)
    {
        try
        {
            _ = sink.Model;
            return true;
        }
        catch (InvalidOperationException)
        {
            return false;
        }
    }

    /// <summary>
    /// Creates the momentum of the global model's computed tensors: F64 for F64 tensors, F32 for all others.
    /// </summary>
    private static ModelDraft Momentum(int seed)
    {
        var choices = new Choices((ulong)seed, "momentum", 0);
        return new ModelDraft
        {
            Tensors = [.. Rounds.GlobalDraft.Tensors.Where(tensor => tensor.DType.Contains('F'))
                .Select(tensor => ModelDraft.Tensor(tensor.Name, tensor.DType == "F64" ? "F64" : "F32", tensor.Shape, _ =>
                    choices.Value()))],
        };
    }
}
