using FedICU.Tests.Files;

namespace FedICU.Tests;

/// <summary>A client whose update has a fault.</summary>
/// <param name="Name">The fault, for the test's name.</param>
/// <param name="Fault">The fault that the round is refused for.</param>
/// <param name="Make">Creates the update of a client's id; files are written to the folder.</param>
internal sealed record BadClient(string Name, RoundFault Fault, Func<TempFolder, string, ClientUpdate> Make)
{
    public static readonly MemoryModel Global = Models.Random(1);
    private static readonly TensorInfo First = Global.Tensors.First(tensor => tensor.DType.IsComputed && tensor.ElementCount > 1);
    private static readonly string Digest = ModelDigest.Compute(Global);

    public override string ToString() => Name;

    public static BadClient[] All =>
    [
        .. new[] { "-5", "nan", "NaN", "inf", "-inf", "1e400", "1e300", "many", "", "0x10", "１２" }
            .Select(weight => Stating($"num_examples '{weight}'", RoundFault.Weight, MetadataKeys.Examples, weight)),
        new("no weight among clients with weights", RoundFault.Weight, (_, id) => ClientUpdate.FromTensors(id, Models.Random(9))),
        new("a weight of -1 by the caller", RoundFault.Weight, (_, id) => ClientUpdate.FromTensors(id, Models.Random(9), -1)),
        new("a weight of NaN by the caller", RoundFault.Weight, (_, id) => ClientUpdate.FromTensors(id, Models.Random(9), double.NaN)),
        Stating("another round", RoundFault.Stale, MetadataKeys.Round, "6"),
        Stating("a round that is not a number", RoundFault.Stale, MetadataKeys.Round, "\u202e7\u2028" + new string('9', 5000)),
        Stating("another base", RoundFault.Base, MetadataKeys.Base, "sha256:" + new string('0', 64)),
        Stating("a base of 10,000 characters", RoundFault.Base, MetadataKeys.Base, new string('\u001b', 10_000)),
        Stating("an unknown kind", RoundFault.Unreadable, MetadataKeys.Update, "patch"),
        Stating("a client's state", RoundFault.Unreadable, MetadataKeys.State, "momentum"),
        Stating("sparse without a base", RoundFault.Unreadable, MetadataKeys.Update, "sparse"),
        new("a missing file", RoundFault.Unreadable, (folder, id) => ClientUpdate.FromFile(id, folder["no-such.safetensors"], 1)),
        File("an empty file", []),
        File("a web page", "<!DOCTYPE html><html><head><title>404</title></head></html>"u8),
        File("a pointer of Git LFS", "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"u8),
        File("a header of 2^60 bytes", [0, 0, 0, 0, 0, 0, 0, 16, .. new byte[100]]),
        File("a header that is not JSON", TestModels.FileOf("{\"a\":", 0)),
        File("half a surrogate pair", TestModels.FileOf("""{"\ud800":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}""", 4)),
        File("a shape of more than 64 bits",
            TestModels.FileOf("""{"a":{"dtype":"F32","shape":[9223372036854775807,9223372036854775807],"data_offsets":[0,4]}}""", 4)),
        File("overlapping data",
            TestModels.FileOf(
                """{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}""", 4)),
        new("a truncated file", RoundFault.Unreadable, (folder, id) => InFile(folder, id, Models.Random(9), bytes => bytes[..^5])),
        new("an index that leads out of its folder", RoundFault.Unreadable,
            (folder, id) => InText(folder, id, "m.safetensors.index.json", """{"weight_map":{"a":"../b.safetensors"}}""")),
        new("an index whose shard is missing", RoundFault.Unreadable,
            (folder, id) => InText(folder, id, "m.safetensors.index.json", """{"weight_map":{"a":"b.safetensors"}}""")),
        new("an adapter with an invalid configuration", RoundFault.Unreadable,
            (folder, id) => InAdapter(folder, id, """{"peft_type":"LORA","r":-1}""")),
        new("an adapter with half a configuration", RoundFault.Unreadable, (folder, id) => InAdapter(folder, id, """{"peft_type":""")),
        Sparse("a sparse shape of 2^63-7", "[9223372036854775801]"),
        Sparse("a sparse shape of more bytes than 64 bits count", "[9223372036854775807, 1]"),
        Sparse("a sparse shape of 65 dimensions", $"[{string.Join(", ", Enumerable.Repeat(1, 65))}]"),
        Sparse("a sparse shape of 3 million dimensions", $"[{string.Join(",", Enumerable.Repeat(1, 3_000_000))}]"),
        Sparse("a negative sparse shape", "[-1]"),
        new("another sparse shape", RoundFault.Shape, (_, id) => Packed(id, "[3]", DType.F32, 1)),
        Sparse("no sparse shape", "many"),
        new("packed values of integers", RoundFault.Unreadable, (_, id) => Packed(id, "[8]", DType.I32, 1)),
        new("more packed values than bits", RoundFault.Unreadable, (_, id) => Packed(id, "[8]", DType.F32, 2)),
        new("a missing tensor", RoundFault.Missing, (_, id) => ClientUpdate.FromTensors(id, new MemoryModel(), 1)),
        new("an extra tensor", RoundFault.Extra,
            (_, id) => ClientUpdate.FromTensors(id, With(Models.Random(9), new TensorInfo("\u202emore\n", DType.F32, new TensorShape(1))),
            1)),
        new("another shape", RoundFault.Shape,
            (_, id) => ClientUpdate.FromTensors(id, Changed(tensor => tensor with { Shape = new TensorShape(1, tensor.ElementCount) }), 1)),
        new("integers for floats", RoundFault.DType,
            (_, id) => ClientUpdate.FromTensors(id, Changed(tensor => tensor with { DType = DType.I32 }), 1)),
        new("values that are NaN", RoundFault.NonFinite,
            (_, id) => ClientUpdate.FromTensors(id, Changed(tensor => tensor with { DType = DType.F32 }, float.NaN), 1)),
        new("values too large for the output's type", RoundFault.NonFinite,
            (_, id) => ClientUpdate.FromTensors(id, Changed(tensor => tensor with { DType = DType.F64 }, 1e300), 1)),
        new("codes of 4 bits", RoundFault.Quantized, (_, id) => ClientUpdate.FromTensors(id, With(Models.Random(9),
            new TensorInfo("q.weight", DType.U8, new TensorShape(4)), new TensorInfo("q.weight.absmax", DType.F32, new TensorShape(1))),
                1)),
    ];

    private static BadClient Stating(string name, RoundFault fault, string key, string value) => new(name, fault, (_, id) =>
        ClientUpdate.FromTensors(id,
            Models.Random(9, metadata: new Dictionary<string, string> { [MetadataKeys.Examples] = "3", [key] = value })));

    private static BadClient File(string name, ReadOnlySpan<byte> bytes)
    {
        byte[] content = bytes.ToArray();
        return new(name, RoundFault.Unreadable, (folder, id) =>
        {
            System.IO.File.WriteAllBytes(folder[id + ".safetensors"], content);
            return ClientUpdate.FromFile(id, folder[id + ".safetensors"], 1);
        });
    }

    private static ClientUpdate InFile(TempFolder folder, string id, TensorSource model, Func<byte[], byte[]> change)
    {
        string path = folder[id + ".safetensors"];
        model.SaveTo(TensorSink.ToFile(path));
        System.IO.File.WriteAllBytes(path, change(System.IO.File.ReadAllBytes(path)));
        return ClientUpdate.FromFile(id, path, 1);
    }

    private static ClientUpdate InText(TempFolder folder, string id, string name, string text)
    {
        Directory.CreateDirectory(folder[id]);
        System.IO.File.WriteAllText(Path.Combine(folder[id], name), text);
        return ClientUpdate.FromFile(id, Path.Combine(folder[id], name), 1);
    }

    private static ClientUpdate InAdapter(TempFolder folder, string id, string config)
    {
        Directory.CreateDirectory(folder[id]);
        Models.Random(9).SaveTo(TensorSink.ToFile(Path.Combine(folder[id], "adapter_model.safetensors")));
        System.IO.File.WriteAllText(Path.Combine(folder[id], "adapter_config.json"), config);
        return ClientUpdate.FromFile(id, folder[id], 1);
    }

    private static BadClient Sparse(string name, string shape) =>
        new(name, RoundFault.Unreadable, (_, id) => Packed(id, shape, DType.F32, 1));

    /// <summary>Creates a sparse update of one tensor, of which one entry of eight was sent.</summary>
    private static ClientUpdate Packed(string id, string shape, DType dtype, int values)
    {
        var metadata = new Dictionary<string, string>
        {
            [MetadataKeys.Update] = "sparse",
            [MetadataKeys.Base] = Digest,
            [MetadataKeys.ShapePrefix + First.Name] = shape,
        };
        var model = new MemoryModel(metadata);
        var info = new TensorInfo(First.Name + "#values", dtype, new TensorShape(values));
        model.Add(info, new byte[info.ByteLength]);
        model.Add(First.Name + "#mask", [1], new byte[] { 1 });
        return ClientUpdate.FromTensors(id, model, 1);
    }

    private static MemoryModel With(MemoryModel model, params TensorInfo[] more)
    {
        foreach (TensorInfo tensor in more)
            model.Add(tensor, new byte[tensor.ByteLength]);
        return model;
    }

    /// <summary>Creates a model with one changed tensor, all of whose elements have one value.</summary>
    private static MemoryModel Changed(Func<TensorInfo, TensorInfo> change, double value = 0)
    {
        MemoryModel source = Models.Random(9);
        var model = new MemoryModel();
        foreach (TensorInfo tensor in source.Tensors)
        {
            if (tensor.Name != First.Name)
            {
                model.Add(tensor, TestModels.Data(source, tensor));
                continue;
            }

            TensorInfo changed = change(tensor);
            model.Add(changed, changed.DType.IsComputed
                ? Models.Tensor(changed.Name, changed.DType, changed.Shape.Dimensions.ToArray(), _ => value).Bytes
                : new byte[changed.ByteLength]);
        }

        return model;
    }
}
