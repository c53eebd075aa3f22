using System.Collections.Frozen;
using System.Runtime.InteropServices;
using FedICU.Compute;
using FedICU.Text;

namespace FedICU.Interop;

/// <summary>fedicu_tensor of fedicu.h.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct NativeTensor
{
    public byte* Name;
    public byte* DType;
    public int Rank;
    public long* Shape;
    public void* Data;
    public ulong ByteLength;
}

/// <summary>Tensors in the caller's memory, or copies of them. The model that it makes lives as long.</summary>
internal sealed unsafe class CallerTensors : IDisposable
{
    // as many as the library reads of a file
    private const int MostDimensions = 64;

    private readonly List<nint> _copies = [];

    /// <summary>Reads what the caller says of its tensors.</summary>
    /// <param name="tensors">The tensors.</param>
    /// <param name="count">How many.</param>
    /// <param name="copy">Whether the memory is the caller's again after the call.</param>
    /// <param name="metadata">What goes with them.</param>
    /// <param name="only">Names of those that are taken; null: all.</param>
    /// <exception cref="ArgumentException">A tensor contradicts itself.</exception>
    public CallerTensors(NativeTensor* tensors, long count, bool copy, IReadOnlyDictionary<string, string>? metadata = null, IReadOnlySet<string>? only = null)
        : this(
            Read(tensors, count).FindAll(tensor => only?.Contains(tensor.Info.Name) ?? true), copy, metadata,
            FrozenDictionary<string, string>.Empty)
    {
    }

    private CallerTensors(
        List<(TensorInfo Info, nint Data)> tensors, bool copy, IReadOnlyDictionary<string, string>? metadata,
        IReadOnlyDictionary<string, string> unknownTypes)
    {
        (Model, UnknownTypes) = (new MemoryModel(metadata), unknownTypes);
        try
        {
            foreach ((TensorInfo info, nint data) in tensors)
                Model.Add(info, copy ? Copy(data, info.ByteLength) : data);
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public MemoryModel Model { get; }

    /// <summary>Tensors of a client whose types the library does not have, by name.</summary>
    public IReadOnlyDictionary<string, string> UnknownTypes { get; }

    /// <summary>
    /// Reads what the caller says of a client's tensors. Those of unknown types are kept by name for the round's policies; their data are
    /// not read.
    /// </summary>
    /// <exception cref="ArgumentException">A tensor contradicts itself; the message names the client.</exception>
    public static CallerTensors OfClient(
        string client, NativeTensor* tensors, long count, bool copy, IReadOnlyDictionary<string, string>? metadata = null)
    {
        var unknown = new Dictionary<string, string>(StringComparer.Ordinal);
        return new CallerTensors(Read(tensors, count, $"Client {Sentence.Quote(client)}", unknown), copy, metadata, unknown);
    }

    /// <summary>The tensors, checked: a name, a known type, a shape of as many bytes as are said, memory that is there and aligned.</summary>
    /// <param name="tensors">The tensors.</param>
    /// <param name="count">How many.</param>
    /// <param name="whose">What sentences begin with, null where the tensors are no client's.</param>
    /// <param name="unknown">Takes the tensors of types that the library does not have; null: they are refused.</param>
    public static List<(TensorInfo Info, nint Data)> Read(
        NativeTensor* tensors, long count, string? whose = null, Dictionary<string, string>? unknown = null)
    {
        string prefix = whose is null ? "" : $"{whose}: ", noun = whose is null ? "Tensor" : $"{whose}: tensor";
        if (count < 0 || count > int.MaxValue || count > 0 && tensors == null)
        {
            string none = tensors == null ? " and no array of them" : "";
            throw new ArgumentException($"{prefix}{count} tensors were given{none}; an array of that length was expected.");
        }

        var read = new List<(TensorInfo, nint)>();
        var names = new HashSet<string>(StringComparer.Ordinal);
        long total = 0;
        for (int i = 0; i < count; i++)
        {
            NativeTensor tensor = tensors[i];
            string name = Marshal.PtrToStringUTF8((nint)tensor.Name) ?? throw new ArgumentException($"{noun} {i} has no name.");
            string which = $"{noun} {Sentence.Quote(name)}";
            if (!names.Add(name))
                throw new ArgumentException($"{which} was given twice; names must be unique.");
            string? type = Marshal.PtrToStringUTF8((nint)tensor.DType);
            if (type is not null && DTypeExtensions.TryParseSafetensorsName(type, out DType dtype))
            {
                TensorInfo info = Check(tensor, which, name, dtype);
                if (info.ByteLength > long.MaxValue - total)
                    throw new ArgumentException($"{which}: with it the tensors have more bytes than 64 bits can count.");
                total += info.ByteLength;
                read.Add((info, (nint)tensor.Data));
            }
            else if (type is not null && unknown is not null)
            {
                unknown.Add(name, type);
            }
            else
            {
                string shown = type is null ? "null" : Sentence.Quote(type);
                throw new ArgumentException($"{which}: the dtype {shown} is unknown; one of safetensors' such as F32, F16 or BF16 was expected.");
            }
        }

        return read;
    }

    public void Dispose()
    {
        _copies.ForEach(copy => NativeMemory.AlignedFree((void*)copy));
        _copies.Clear();
    }

    /// <summary>What a tensor is, where its numbers agree with each other.</summary>
    private static TensorInfo Check(NativeTensor tensor, string which, string name, DType dtype)
    {
        if (tensor.Rank is < 0 or > MostDimensions || tensor.Rank > 0 && tensor.Shape == null)
        {
            string none = tensor.Shape == null ? " and it has no shape" : "";
            throw new ArgumentException(
                $"{which}: its rank is {tensor.Rank}{none}; a rank of 0 to {MostDimensions} and its lengths were expected.");
        }

        var lengths = new ReadOnlySpan<long>(tensor.Shape, tensor.Rank);
        foreach (long length in lengths)
        {
            if (length < 0)
                throw new ArgumentException($"{which}: a length of its shape is {length}; at least 0 was expected.");
        }

        TensorInfo info;
        long bytes;
        try
        {
            info = new TensorInfo(name, dtype, new TensorShape(lengths));
            bytes = info.ByteLength;
        }
        catch (Exception e) when (e is OverflowException or FedIcuException)
        {
            throw new ArgumentException($"{which}: its shape has more bytes than 64 bits can count.", e);
        }

        if (tensor.ByteLength != (ulong)bytes)
            throw new ArgumentException($"{which} of {info} has {tensor.ByteLength} bytes; {bytes} were expected.");
        int size = Math.Max(dtype.BitSize / 8, 1);
        if (bytes > 0 && (tensor.Data == null || (nint)tensor.Data % size != 0))
        {
            throw new ArgumentException(
                $"{which} of {info}: its data are at {(nint)tensor.Data}; an address that is a multiple of {size} was expected.");
        }

        return info;
    }

    private nint Copy(nint data, long bytes)
    {
        void* copy = NativeMemory.AlignedAlloc((nuint)Math.Max(bytes, 1), 64);
        _copies.Add((nint)copy);
        Buffer.MemoryCopy((void*)data, copy, bytes, bytes);
        return (nint)copy;
    }
}

/// <summary>Writes a model into tensors that the caller allocated.</summary>
internal sealed unsafe class CallerSink(List<(TensorInfo Info, nint Data)> places) : TensorSink
{
    private readonly Dictionary<string, (TensorInfo Info, nint Data)> _places = places.ToDictionary(place => place.Info.Name, StringComparer.Ordinal);

    public override void Begin(IReadOnlyList<TensorInfo> tensors, IReadOnlyDictionary<string, string> metadata)
    {
        foreach (TensorInfo tensor in tensors)
        {
            if (!_places.TryGetValue(tensor.Name, out (TensorInfo Info, nint Data) place))
                throw new ArgumentException($"The result's tensor '{tensor.Name}' of {tensor} has no place among the tensors given.");
            if (place.Info != tensor)
                throw new ArgumentException($"The place for tensor '{tensor.Name}' is {place.Info}; {tensor} was expected.");
        }

        if (_places.Count > tensors.Count)
            throw new ArgumentException($"A place was given for tensor '{_places.Keys.Except(tensors.Select(tensor => tensor.Name)).First()}', which the result has not.");
    }

    public override void Write(TensorInfo tensor, long offset, ReadOnlySpan<byte> source) =>
        source.CopyTo(new Span<byte>((byte*)_places[tensor.Name].Data + offset, source.Length));

    public override void* TryGetPointer(TensorInfo tensor) => (void*)_places[tensor.Name].Data;

    public override void Commit()
    {
    }

    public override void Abort()
    {
    }
}
