using System.Buffers.Binary;
using System.Globalization;

namespace FedICU.Fuzz.Generation;

/// <summary>A tensor to write.</summary>
internal sealed record TensorDraft(string Name, string DType, long[] Shape, byte[] Data);

/// <summary>Builds a safetensors file without the library.</summary>
internal sealed class ModelDraft
{
    /// <summary>The names of the types and their bits.</summary>
    public static readonly (string Name, int Bits)[] Types =
    [
        ("F64", 64), ("F32", 32), ("F16", 16), ("BF16", 16), ("I64", 64), ("I32", 32), ("I16", 16), ("I8", 8), ("U64", 64), ("U32", 32),
        ("U16", 16), ("U8", 8), ("BOOL", 8),
        ("F8_E5M2", 8), ("F8_E4M3", 8), ("F8_E5M2FNUZ", 8), ("F8_E4M3FNUZ", 8), ("F8_E8M0", 8), ("F6_E2M3", 6), ("F6_E3M2", 6), ("F4", 4),
        ("C64", 64),
    ];

    /// <summary>The tensors in the order of their data.</summary>
    public List<TensorDraft> Tensors { get; init; } = [];

    public List<(string Key, string Value)> Metadata { get; init; } = [];

    /// <summary>Creates a model of a few tensors of any types.</summary>
    public static ModelDraft Random(Choices choices)
    {
        var draft = new ModelDraft();
        var names = new HashSet<string>(StringComparer.Ordinal);
        for (int n = choices.Below(6); n > 0; n--)
        {
            string name = choices.OneIn(8) ? Literals.Text(choices) : $"layer.{choices.Below(40)}.weight";
            if (name == "__metadata__" || !IsUnicode(name) || !names.Add(name))
                continue;
            (string type, int bits) = choices.Of(Types);
            long[] shape = [.. Enumerable.Range(0, choices.Below(4)).Select(_ => (long)choices.Below(6))];
            long count = shape.Aggregate(1L, (product, dimension) => product * dimension);
            if (count * bits % 8 != 0)
                (shape, count) = ([.. shape, 4], count * 4);
            draft.Tensors.Add(new TensorDraft(name, type, shape, choices.Bytes((int)(count * bits / 8))));
        }

        for (int n = choices.Below(4); n > 0; n--)
        {
            string key = choices.Of(["format", "num_examples", "round", "fedicu.base", "note", "k\u00e9y"]);
            string value = choices.OneIn(2) ? "pt" : Literals.Text(choices);
            if (IsUnicode(value) && !draft.Metadata.Exists(entry => entry.Key == key))
                draft.Metadata.Add((key, value));
        }

        return draft;
    }

    /// <summary>Creates the header, optionally in a shuffled order.</summary>
    public Json Header(Choices? shuffle = null)
    {
        var members = new List<(string, Json)>();
        long offset = 0;
        foreach (TensorDraft tensor in Tensors)
        {
            long end = offset + tensor.Data.Length;
            members.Add((tensor.Name, Json.Object(
                ("dtype", Json.Text(tensor.DType)), ("shape", Json.Array(tensor.Shape.Select(Json.Number))),
                ("data_offsets", Json.Array(Json.Number(offset), Json.Number(end))))));
            offset = end;
        }

        if (Metadata.Count > 0)
        {
            var metadata = Json.Object();
            foreach ((string key, string value) in Metadata)
                metadata.Add(key, Json.Text(value));
            members.Add(("__metadata__", metadata));
        }

        shuffle?.Shuffle(members);
        var header = Json.Object();
        foreach ((string key, Json value) in members)
            header.Add(key, value);
        return header;
    }

    public byte[] Data => [.. Tensors.SelectMany(tensor => tensor.Data)];

    /// <summary>Creates the file.</summary>
    public byte[] ToBytes() => File(Header().ToBytes(), Data);

    public static byte[] File(byte[] header, byte[] data)
    {
        byte[] length = new byte[8];
        BinaryPrimitives.WriteInt64LittleEndian(length, header.Length);
        return [.. length, .. header, .. data];
    }

    /// <summary>Creates a tensor of numbers.</summary>
    public static TensorDraft Tensor(string name, string type, long[] shape, Func<int, double> value)
    {
        int count = (int)shape.Aggregate(1L, (product, dimension) => product * dimension);
        int size = Types.First(known => known.Name == type).Bits / 8;
        byte[] data = new byte[count * size];
        for (int i = 0; i < count; i++)
            Write(data.AsSpan(i * size, size), type, value(i));
        return new TensorDraft(name, type, shape, data);
    }

    public static string Text(IEnumerable<long> shape) =>
        $"[{string.Join(", ", shape.Select(dimension => dimension.ToString(CultureInfo.InvariantCulture)))}]";

    public static bool IsUnicode(string text)
    {
        for (int i = 0; i < text.Length; i++)
        {
            if (char.IsSurrogate(text[i]) && !(i + 1 < text.Length && char.IsSurrogatePair(text[i], text[++i])))
                return false;
        }

        return true;
    }

    private static void Write(Span<byte> data, string type, double value)
    {
        switch (type)
        {
            case "F64":
                BinaryPrimitives.WriteDoubleLittleEndian(data, value);
                break;
            case "F32":
                BinaryPrimitives.WriteSingleLittleEndian(data, (float)value);
                break;
            case "F16":
                BinaryPrimitives.WriteHalfLittleEndian(data, (Half)value);
                break;
            case "BF16":
                BinaryPrimitives.WriteUInt16LittleEndian(data, (ushort)(BitConverter.SingleToUInt32Bits((float)value) >> 16));
                break;
            case "I64":
                BinaryPrimitives.WriteInt64LittleEndian(data, (long)value);
                break;
            case "I32":
                BinaryPrimitives.WriteInt32LittleEndian(data, (int)value);
                break;
            default:
                throw new ArgumentException($"Numbers cannot be written as {type}.", nameof(type));
        }
    }
}
