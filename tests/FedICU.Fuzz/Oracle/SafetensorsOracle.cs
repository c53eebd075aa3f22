using System.Buffers.Binary;
using System.Globalization;
using System.Numerics;
using System.Security.Cryptography;
using System.Text;
using FedICU.Fuzz.Generation;

namespace FedICU.Fuzz.Oracle;

/// <summary>A tensor as the oracle reads it.</summary>
internal sealed record OracleTensor(string Name, string DType, BigInteger[] Shape, long Start, long End);

/// <summary>The oracle's verdict on a file.</summary>
/// <param name="Refusal">The first broken rule of the format, or null.</param>
/// <param name="Stricter">A documented limit of the library that the file exceeds, or null.</param>
/// <param name="Tensors">The tensors in the order of their data.</param>
/// <param name="Metadata">The metadata.</param>
internal sealed record Verdict(
    string? Refusal, string? Stricter, IReadOnlyList<OracleTensor> Tensors, IReadOnlyDictionary<string, string> Metadata)
{
    /// <summary>Whether the library must open the file.</summary>
    public bool Accepts => Refusal is null && Stricter is null;
}

/// <summary>
/// Implements the documented rules of the safetensors format in a simple form that shares no code with the library.
/// docs/security.md lists where the library is stricter than the format.
/// </summary>
internal static class SafetensorsOracle
{
    // bytes of the longest header; the format's limit
    private const int LongestHeader = 100_000_000;

    // dimensions of a shape; the library's limit (docs/security.md, Limits)
    private const int MostDimensions = 64;

    private static readonly Dictionary<string, string> None = [];

    public static Verdict Judge(byte[] file)
    {
        string? stricter = null;
        try
        {
            return JudgeOrThrow(file, ref stricter);
        }
        catch (BrokenRule e)
        {
            return new Verdict(e.Message, stricter, [], None);
        }
    }

    private static Verdict JudgeOrThrow(byte[] file, ref string? stricter)
    {
        Rule(file.Length >= 8, "8 bytes give the header's length");
        ulong length = BinaryPrimitives.ReadUInt64LittleEndian(file);
        Rule(length <= LongestHeader, "the header has at most 100 MB");
        Rule(length <= (ulong)file.Length - 8, "the file holds the header");
        ReadOnlySpan<byte> header = file.AsSpan(8, (int)length);
        Rule(!header.IsEmpty && header[0] == '{', "the header begins with a brace");
        JsonValue root = StrictJson.Parse(header, trailing: " ") ?? throw new BrokenRule("the header is JSON, followed by spaces alone");
        Unique(root);

        var tensors = new List<OracleTensor>();
        IReadOnlyDictionary<string, string> metadata = None;
        long dataLength = file.Length - 8 - (long)length;
        foreach ((string name, JsonValue value) in root.Children)
        {
            if (name == "__metadata__")
                metadata = Metadata(value);
            else
                tensors.Add(Tensor(name, value, ref stricter));
        }

        // only tensors without elements have equal offsets; they keep the header's order
        OracleTensor[] ordered = [.. tensors.OrderBy(tensor => tensor.Start).ThenBy(tensor => tensor.End)];
        long at = 0;
        foreach (OracleTensor tensor in ordered)
        {
            Rule(tensor.Start == at, "the data follow one another without overlap or hole");
            at = tensor.End;
        }

        Rule(at == dataLength, "the data end with the file");
        return new Verdict(null, stricter, ordered, metadata);
    }

    private static Dictionary<string, string> Metadata(JsonValue value)
    {
        Rule(value.Kind == '{', "__metadata__ is an object");
        Unique(value);
        Rule(value.Children.TrueForAll(child => child.Value.Kind == '"'), "__metadata__ holds strings alone");
        return value.Children.ToDictionary(child => child.Key, child => child.Value.Text, StringComparer.Ordinal);
    }

    private static OracleTensor Tensor(string name, JsonValue value, ref string? stricter)
    {
        Rule(value.Kind == '{', "a tensor is an object");
        Unique(value);
        JsonValue dtype = Field(value, "dtype"), shape = Field(value, "shape"), offsets = Field(value, "data_offsets");
        if (value.Children.Count > 3)
            stricter = "a tensor has no fields but dtype, shape and data_offsets";
        Rule(dtype.Kind == '"' && ModelDraft.Types.Any(type => type.Name == dtype.Text), "the dtype is known");
        BigInteger[] dimensions = Numbers(shape), places = Numbers(offsets);
        if (dimensions.Length > MostDimensions)
            stricter = "a shape has at most 64 dimensions";
        if (dimensions.Any(dimension => dimension > long.MaxValue) ||
            dimensions.Where(dimension => dimension > 0).Aggregate(BigInteger.One, BigInteger.Multiply) > long.MaxValue)
            stricter = "the dimensions that are not 0 have a product below 2^63";
        Rule(places.Length == 2 && places[0] <= places[1] && places[1] <= long.MaxValue, "data_offsets are two numbers in ascending order");
        BigInteger bits =
            dimensions.Aggregate(BigInteger.One, BigInteger.Multiply) * ModelDraft.Types.First(type => type.Name == dtype.Text).Bits;
        Rule(bits == (places[1] - places[0]) * 8, "shape and type take the bytes that the offsets give");
        return new OracleTensor(name, dtype.Text, dimensions, (long)places[0], (long)places[1]);
    }

    private static JsonValue Field(JsonValue tensor, string name) =>
        tensor.Children.Find(child => child.Key == name).Value ?? throw new BrokenRule($"a tensor has a {name}");

    private static BigInteger[] Numbers(JsonValue value)
    {
        bool areWhole = value.Children.TrueForAll(child => child.Value is { Kind: 'v', Text: var text } && text.All(char.IsAsciiDigit));
        Rule(value.Kind == '[' && areWhole, "shapes and offsets are arrays of whole numbers");
        return [.. value.Children.Select(child => BigInteger.Parse(child.Value.Text, CultureInfo.InvariantCulture))];
    }

    private static void Unique(JsonValue value) =>
        Rule(value.Children.Select(child => child.Key).Distinct(StringComparer.Ordinal).Count() == value.Children.Count,
            "a name occurs once");

    private static void Rule(bool holds, string rule)
    {
        if (!holds)
            throw new BrokenRule(rule);
    }

    /// <summary>
    /// Computes a model's digest as the library's contract defines it: SHA-256 over names, types, shapes and the hashes
    /// of the data, in the ordinal order of the names in UTF-8.
    /// </summary>
    public static string Digest(byte[] file, Verdict verdict)
    {
        int data = 8 + (int)BinaryPrimitives.ReadUInt64LittleEndian(file);
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        byte[] number = new byte[8];
        var ordinal = Comparer<byte[]>.Create((a, b) => a.AsSpan().SequenceCompareTo(b));
        foreach (OracleTensor tensor in verdict.Tensors.OrderBy(tensor => Encoding.UTF8.GetBytes(tensor.Name), ordinal))
        {
            byte[] name = Encoding.UTF8.GetBytes(tensor.Name), type = Encoding.ASCII.GetBytes(tensor.DType);
            Append(name.Length, 4);
            hash.AppendData(name);
            Append(type.Length, 1);
            hash.AppendData(type);
            Append(tensor.Shape.Length, 4);
            foreach (BigInteger dimension in tensor.Shape)
                Append((long)dimension, 8);
            hash.AppendData(SHA256.HashData(file.AsSpan(data + (int)tensor.Start, (int)(tensor.End - tensor.Start))));
        }

        return "sha256:" + Convert.ToHexStringLower(hash.GetHashAndReset());

        void Append(long value, int bytes)
        {
            BinaryPrimitives.WriteInt64LittleEndian(number, value);
            hash.AppendData(number, 0, bytes);
        }
    }

    private sealed class BrokenRule(string rule) : Exception(rule);
}
