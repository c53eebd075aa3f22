using System.Buffers.Binary;
using FedICU.Text;

namespace FedICU.Files;

/// <summary>
/// The checked content of a safetensors header: the tensors in the order of their data, and the position of each.
/// </summary>
internal sealed class SafetensorsHeader
{
    /// <summary>
    /// The length in bytes of the little-endian number before the header, which gives the header's length.
    /// </summary>
    public const int PrefixLength = 8;

    /// <summary>The largest accepted length of a header in bytes; the limit of the reference implementation.</summary>
    public const int MaxLength = 100_000_000;

    private readonly Dictionary<string, int> _index;
    private readonly long[] _starts;

    internal SafetensorsHeader(
        TensorInfo[] tensors, long[] starts, Dictionary<string, int> index, IReadOnlyDictionary<string, string> metadata)
    {
        Tensors = tensors;
        _starts = starts;
        _index = index;
        Metadata = metadata;
    }

    /// <summary>Gets the tensors in the order of their data.</summary>
    public TensorInfo[] Tensors { get; }

    /// <summary>Gets the file's metadata in its order; empty if the file has none.</summary>
    public IReadOnlyDictionary<string, string> Metadata { get; }

    /// <summary>
    /// Returns the position of a tensor's data, counted from the start of the data section, and its length in bytes.
    /// </summary>
    public (long Start, long Length) Locate(TensorInfo tensor)
    {
        if (!_index.TryGetValue(tensor.Name, out int at))
            throw new ArgumentException($"The model has no tensor {Sentence.Quote(tensor.Name)}.", nameof(tensor));
        return (_starts[at], Tensors[at].ByteLength);
    }

    /// <summary>Returns the tensor with the given name, or null if there is none.</summary>
    public TensorInfo? Find(string name) => _index.TryGetValue(name, out int at) ? Tensors[at] : null;

    /// <summary>
    /// Returns this header with the other's tensor list if both describe the same tensors; otherwise this header.
    /// </summary>
    public SafetensorsHeader SharingWith(SafetensorsHeader other) =>
        _starts.AsSpan().SequenceEqual(other._starts) && Tensors.AsSpan().SequenceEqual(other.Tensors)
            ? new(other.Tensors, other._starts, other._index, Metadata)
            : this;

    /// <summary>Reads and checks the header's length.</summary>
    /// <param name="prefix">The file's first 8 bytes, or fewer if the file is shorter.</param>
    /// <param name="fileLength">The length of the whole file in bytes.</param>
    /// <param name="location">The file's name in messages.</param>
    public static int CheckLength(ReadOnlySpan<byte> prefix, long fileLength, string location)
    {
        string hint = FileHint.Describe(prefix, expectsJson: false);
        if (prefix.Length < PrefixLength)
            throw new InvalidModelException(
                $"'{location}' has {Sentence.Count(fileLength, "byte")}, fewer than the 8 bytes of the header length{hint}.");
        ulong length = BinaryPrimitives.ReadUInt64LittleEndian(prefix);
        if (length == 0)
            throw new InvalidModelException($"'{location}' has a header of 0 bytes.");
        if (length > MaxLength)
            throw new InvalidModelException(
                $"'{location}' is not a safetensors file: its first {PrefixLength} bytes give a header of {length} bytes, " +
                $"above the limit of {MaxLength}{hint}.");
        if ((long)length > fileLength - PrefixLength)
            throw new InvalidModelException(
                $"'{location}' has a header of {length} bytes, but only {fileLength - PrefixLength} bytes follow its length{hint}.");
        return (int)length;
    }

    /// <summary>Parses and checks a header.</summary>
    /// <param name="header">The JSON text.</param>
    /// <param name="dataLength">The length of the data section in bytes.</param>
    /// <param name="location">The file's name in messages.</param>
    /// <exception cref="InvalidModelException">The header violates a rule of the format.</exception>
    public static SafetensorsHeader Parse(ReadOnlySpan<byte> header, long dataLength, string location) =>
        new HeaderParser(header, dataLength, location).Parse();
}
