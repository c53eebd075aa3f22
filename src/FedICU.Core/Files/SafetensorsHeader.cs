using System.Buffers.Binary;
using FedICU.Text;

namespace FedICU.Files;

/// <summary>What the header of a safetensors file says, checked: the tensors in the order of their data, and where each one lies.</summary>
internal sealed class SafetensorsHeader
{
    /// <summary>Bytes before the header: its length, little-endian.</summary>
    public const int PrefixLength = 8;

    /// <summary>The longest header accepted, in bytes; the reference implementation's limit.</summary>
    public const int MaxLength = 100_000_000;

    private readonly Dictionary<string, int> _index;
    private readonly long[] _starts;

    internal SafetensorsHeader(TensorInfo[] tensors, long[] starts, Dictionary<string, int> index, IReadOnlyDictionary<string, string> metadata)
    {
        Tensors = tensors;
        _starts = starts;
        _index = index;
        Metadata = metadata;
    }

    /// <summary>The tensors in the order of their data.</summary>
    public TensorInfo[] Tensors { get; }

    /// <summary>The file's metadata in its order; empty where it has none.</summary>
    public IReadOnlyDictionary<string, string> Metadata { get; }

    /// <summary>Where a tensor's data start, counted from the start of the data section, and how long they are.</summary>
    public (long Start, long Length) Locate(TensorInfo tensor)
    {
        if (!_index.TryGetValue(tensor.Name, out int at))
            throw new ArgumentException($"There is no tensor {Sentence.Quote(tensor.Name)} here.", nameof(tensor));
        return (_starts[at], Tensors[at].ByteLength);
    }

    /// <summary>The tensor of that name, null where there is none.</summary>
    public TensorInfo? Find(string name) => _index.TryGetValue(name, out int at) ? Tensors[at] : null;

    /// <summary>The same header, with another's memory where both say the same of the tensors.</summary>
    public SafetensorsHeader SharingWith(SafetensorsHeader other) =>
        _starts.AsSpan().SequenceEqual(other._starts) && Tensors.AsSpan().SequenceEqual(other.Tensors) ? new(other.Tensors, other._starts, other._index, Metadata) : this;

    /// <summary>Checks the length that stands before the header.</summary>
    /// <param name="prefix">The file's first 8 bytes, fewer where it is shorter.</param>
    /// <param name="fileLength">The whole file's bytes.</param>
    /// <param name="location">The file, for messages.</param>
    public static int CheckLength(ReadOnlySpan<byte> prefix, long fileLength, string location)
    {
        string hint = FileHint.After(prefix, expectsJson: false);
        if (prefix.Length < PrefixLength)
            throw new InvalidModelException($"'{location}' has {Sentence.Count(fileLength, "byte")}, fewer than the 8 of a header's length{hint}.");
        ulong length = BinaryPrimitives.ReadUInt64LittleEndian(prefix);
        if (length == 0)
            throw new InvalidModelException($"'{location}' has a header of 0 bytes.");
        if (length > MaxLength)
            throw new InvalidModelException($"'{location}' is not a safetensors file: its first {PrefixLength} bytes give a header of {length} bytes, above the limit of {MaxLength}{hint}.");
        if ((long)length > fileLength - PrefixLength)
            throw new InvalidModelException(
                $"'{location}' has a header of {length} bytes, but only {fileLength - PrefixLength} bytes follow its length{hint}.");
        return (int)length;
    }

    /// <summary>Reads and checks a header.</summary>
    /// <param name="header">The JSON text.</param>
    /// <param name="dataLength">The bytes of the data section.</param>
    /// <param name="location">The file, for messages.</param>
    /// <exception cref="InvalidModelException">A rule of the format is broken.</exception>
    public static SafetensorsHeader Parse(ReadOnlySpan<byte> header, long dataLength, string location) =>
        new HeaderParser(header, dataLength, location).Parse();
}
