using System.Collections.Frozen;
using System.Runtime.InteropServices;
using FedICU.Compute;
using FedICU.Text;

namespace FedICU.Interop;

/// <summary>
/// A model of tensors in the caller's memory, or of copies of them. The model is valid until this object is disposed
/// of.
/// </summary>
internal sealed unsafe class CallerTensors : IDisposable
{
    // dimensions; the library's limit for files
    private const int MostDimensions = 64;

    // bytes; chosen: a cache line, and the width of the widest SIMD vectors
    private const int CopyAlignment = 64;

    private readonly List<nint> _copies = [];

    /// <summary>Reads the caller's descriptions of its tensors.</summary>
    /// <param name="tensors">The descriptions.</param>
    /// <param name="count">Their number.</param>
    /// <param name="copy">Whether to copy the data, so that the caller may reuse its memory after the call.</param>
    /// <param name="only">The names of the tensors to take; null: all.</param>
    /// <param name="config">The configuration of an adapter; null if there is none.</param>
    /// <exception cref="ArgumentException">A description contradicts itself.</exception>
    public CallerTensors(
        NativeTensor* tensors, long count, bool copy, IReadOnlySet<string>? only = null, PeftAdapterConfig? config = null)
        : this(
            Read(tensors, count).FindAll(tensor => only?.Contains(tensor.Info.Name) ?? true), copy, new MemoryModel(config, null),
            FrozenDictionary<string, string>.Empty)
    {
    }

    private CallerTensors(
        List<(TensorInfo Info, nint Data)> tensors, bool copy, MemoryModel model, IReadOnlyDictionary<string, string> unknownTypes)
    {
        (Model, UnknownTypes) = (model, unknownTypes);
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

    /// <summary>The types of a client's tensors that the library does not know, by the tensors' names.</summary>
    public IReadOnlyDictionary<string, string> UnknownTypes { get; }

    /// <summary>
    /// Reads the caller's descriptions of a client's tensors. Tensors of unknown types are kept by name for the round's
    /// policies, and their data are not read.
    /// </summary>
    /// <exception cref="ArgumentException">A description contradicts itself; the message names the client.</exception>
    public static CallerTensors OfClient(
        string client, NativeTensor* tensors, long count, bool copy, IReadOnlyDictionary<string, string>? metadata = null,
        PeftAdapterConfig? config = null)
    {
        var unknown = new Dictionary<string, string>(StringComparer.Ordinal);
        List<(TensorInfo, nint)> read = Read(tensors, count, $"Client {Sentence.Quote(client)}", unknown);
        return new CallerTensors(read, copy, new MemoryModel(config, metadata), unknown);
    }

    /// <summary>
    /// Reads and checks descriptions: each needs a name, a known type, a shape that matches its number of bytes, and
    /// aligned memory.
    /// </summary>
    /// <param name="tensors">The descriptions.</param>
    /// <param name="count">Their number.</param>
    /// <param name="whose">The client at the start of messages; null if the tensors are not a client's.</param>
    /// <param name="unknown">Takes the names of tensors of unknown types; null: they are refused.</param>
    /// <exception cref="ArgumentException">A description contradicts itself.</exception>
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
                    throw new ArgumentException($"{which}: with this tensor, the total has more bytes than 64 bits can count.");
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
                throw new ArgumentException(
                    $"{which}: the dtype {shown} is unknown; one of safetensors' types, such as F32, F16 or BF16, was expected.");
            }
        }

        return read;
    }

    public void Dispose()
    {
        _copies.ForEach(copy => NativeMemory.AlignedFree((void*)copy));
        _copies.Clear();
    }

    /// <summary>Makes a tensor's description after checking its fields against each other.</summary>
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
        void* copy = NativeMemory.AlignedAlloc((nuint)Math.Max(bytes, 1), CopyAlignment);
        _copies.Add((nint)copy);
        Buffer.MemoryCopy((void*)data, copy, bytes, bytes);
        return (nint)copy;
    }
}
