using FedICU.Fuzz.Generation;
using FedICU.Fuzz.Oracle;

namespace FedICU.Fuzz.Targets;

/// <summary>
/// Tests a safetensors file. It must open exactly if the format's rules allow it, and must be the same after writing it
/// again.
/// </summary>
internal sealed class SafetensorsTarget : FuzzTarget
{
    public override string Name => "safetensors";

    public override IReadOnlyList<FuzzPart> Generate(Choices choices) => [new("model.safetensors", Make(choices))];

    /// <summary>Creates a valid file with some changes, or none.</summary>
    public static byte[] Make(Choices choices)
    {
        ModelDraft draft = ModelDraft.Random(choices);
        Json header = draft.Header(choices);
        int changes = Mutations.Count(choices);
        bool structure = choices.Below(3) > 0;
        for (int i = 0; structure && i < changes; i++)
            Mutations.Mutate(header, choices);
        byte[] file = ModelDraft.File([.. header.ToBytes(), .. Enumerable.Repeat((byte)' ', choices.OneIn(2) ? choices.Below(8) : 0)],
            draft.Data);
        for (int i = 0; !structure && i < changes; i++)
            file = choices.OneIn(4) ? Mutations.MutateLength(file, choices) : Mutations.Mutate(file, choices);
        return file;
    }

    public override Outcome Check(FuzzInput input, FuzzPlace place, Caller library)
    {
        byte[] file = input["model.safetensors"];
        string path = place.Put("model.safetensors", file);
        Verdict verdict = SafetensorsOracle.Judge(file);
        foreach (FileAccessMode access in (ReadOnlySpan<FileAccessMode>)[FileAccessMode.Read, FileAccessMode.Mapped])
        {
            using SafetensorsFile? model = library.Get("SafetensorsFile.Open", () =>
                SafetensorsFile.Open(path, access), out Exception? refusal);
            CheckVerdict(verdict, refusal);
            if (model is not null)
                CheckContents(model, file, verdict, library);
        }

        if (!verdict.Accepts)
        {
            place.CheckFiles(new(StringComparer.Ordinal) { ["model.safetensors"] = file }, "a refusal");
            return Outcome.Refused;
        }

        RoundTrip(path, place["copy.safetensors"], verdict, library);
        File.Delete(place["copy.safetensors"]);
        place.CheckFiles(new(StringComparer.Ordinal) { ["model.safetensors"] = file }, "a copy");
        return Outcome.Accepted;
    }

    /// <summary>Fails if the library and the rules decide differently.</summary>
    private static void CheckVerdict(Verdict verdict, Exception? refusal)
    {
        FuzzFailure.Unless(!verdict.Accepts || refusal is null, $"a file that the format's rules accept was refused: {refusal?.Message}",
            "refuses a valid file");
        FuzzFailure.Unless(verdict.Accepts || refusal is not null,
            $"the rule '{verdict.Refusal ?? verdict.Stricter}' is broken, and the file was opened", "opens an invalid file");
    }

    /// <summary>Fails unless an opened model has the tensors and metadata of its file.</summary>
    private static void CheckContents(TensorSource model, byte[] file, Verdict verdict, Caller library)
    {
        int data = file.Length - (int)verdict.Tensors.Select(tensor => tensor.End).DefaultIfEmpty().Max();
        FuzzFailure.Unless(model.Tensors.Count == verdict.Tensors.Count,
            $"{model.Tensors.Count} tensors, {verdict.Tensors.Count} in the file");
        foreach ((TensorInfo tensor, OracleTensor expected) in model.Tensors.Zip(verdict.Tensors))
        {
            FuzzFailure.Unless(
                tensor.Name == expected.Name && tensor.DType.SafetensorsName == expected.DType &&
                    tensor.Shape.Dimensions.ToArray().SequenceEqual(expected.Shape.Select(d => (long)d)),
                $"the tensor {tensor} is {expected} in the file", "another tensor");
            byte[] bytes = new byte[tensor.ByteLength];
            Exception? refusal = library.Try("Read", () => model.Read(tensor, 0, bytes));
            FuzzFailure.Unless(refusal is null, $"reading failed: {refusal?.Message}", "reading fails");
            FuzzFailure.Unless(bytes.AsSpan().SequenceEqual(file.AsSpan(data + (int)expected.Start, bytes.Length)),
                "other bytes were read");
        }

        FuzzFailure.Unless(
            model.Metadata.Count == verdict.Metadata.Count &&
                verdict.Metadata.All(entry => model.Metadata.GetValueOrDefault(entry.Key) == entry.Value), "other metadata were read");
    }

    private static void RoundTrip(string path, string copy, Verdict verdict, Caller library)
    {
        using SafetensorsFile model = SafetensorsFile.Open(path);
        Exception? refusal = library.Try("SaveTo", () => model.SaveTo(TensorSink.ToFile(copy)));
        FuzzFailure.Unless(refusal is null, $"an opened model cannot be written: {refusal?.Message}", "an opened model cannot be written");
        byte[] written = File.ReadAllBytes(copy);
        Verdict again = SafetensorsOracle.Judge(written);
        FuzzFailure.Unless(again.Accepts, $"the written file breaks the rule '{again.Refusal ?? again.Stricter}'",
            "an invalid file was written");
        string? digest = library.Get("ModelDigest.Compute", () => ModelDigest.Compute(model), out _);
        string expected = SafetensorsOracle.Digest(File.ReadAllBytes(path), verdict), found = SafetensorsOracle.Digest(written, again);
        FuzzFailure.Unless(digest == expected && expected == found, $"the digest is {digest}; the file has {expected} and its copy {found}",
            "another digest");
        FuzzFailure.Unless(
            again.Metadata.Count == verdict.Metadata.Count &&
                verdict.Metadata.All(entry => again.Metadata.GetValueOrDefault(entry.Key) == entry.Value), "other metadata were written");
    }
}
