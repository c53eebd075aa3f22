using System.Runtime.InteropServices;
using FedICU.Compute;

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
    private readonly List<nint> _copies = [];

    /// <summary>Reads what the caller says of its tensors.</summary>
    /// <param name="tensors">The tensors.</param>
    /// <param name="count">How many.</param>
    /// <param name="copy">Whether the memory is the caller's again after the call.</param>
    /// <param name="metadata">What goes with them.</param>
    /// <param name="only">Names of those that are taken; null: all.</param>
    /// <exception cref="ArgumentException">A tensor contradicts itself.</exception>
    public CallerTensors(NativeTensor* tensors, long count, bool copy, IReadOnlyDictionary<string, string>? metadata = null, IReadOnlySet<string>? only = null)
    {
        Model = new MemoryModel(metadata);
        try
        {
            foreach ((TensorInfo info, nint data) in Read(tensors, count))
            {
                if (only?.Contains(info.Name) ?? true)
                    Model.Add(info, copy ? Copy(data, info.ByteLength) : data);
            }
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public MemoryModel Model { get; }

    /// <summary>The tensors, checked: a name, a known type, a shape of as many bytes as are said, memory that is there and aligned.</summary>
    public static List<(TensorInfo Info, nint Data)> Read(NativeTensor* tensors, long count)
    {
        if (count < 0 || count > int.MaxValue || count > 0 && tensors == null)
            throw new ArgumentException($"{count} tensors were given{(tensors == null ? " and no array of them" : "")}; an array of as many as are said was expected.");
        var read = new List<(TensorInfo, nint)>((int)count);
        for (int i = 0; i < count; i++)
        {
            NativeTensor tensor = tensors[i];
            string name = Marshal.PtrToStringUTF8((nint)tensor.Name) ?? throw new ArgumentException($"Tensor {i} has no name.");
            string? type = Marshal.PtrToStringUTF8((nint)tensor.DType);
            if (type is null || !DTypeExtensions.TryParseSafetensorsName(type, out DType dtype))
                throw new ArgumentException($"Tensor '{name}': the dtype {(type is null ? "null" : $"'{type}'")} is unknown; one of safetensors' such as F32, F16 or BF16 was expected.");
            if (tensor.Rank < 0 || tensor.Rank > 0 && tensor.Shape == null)
                throw new ArgumentException($"Tensor '{name}': its rank is {tensor.Rank}{(tensor.Shape == null ? " and it has no shape" : "")}; as many lengths as its rank says were expected.");
            var lengths = new ReadOnlySpan<long>(tensor.Shape, tensor.Rank);
            foreach (long length in lengths)
            {
                if (length < 0)
                    throw new ArgumentException($"Tensor '{name}': a length of its shape is {length}; at least 0 was expected.");
            }

            TensorInfo info = Info(name, dtype, lengths);
            if (tensor.ByteLength != (ulong)info.ByteLength)
                throw new ArgumentException($"Tensor '{name}' of {info} has {tensor.ByteLength} bytes; {info.ByteLength} were expected.");
            int size = Math.Max(dtype.BitSize / 8, 1);
            if (info.ByteLength > 0 && (tensor.Data == null || (nint)tensor.Data % size != 0))
                throw new ArgumentException($"Tensor '{name}' of {info}: its data are at {(nint)tensor.Data}; an address that is a multiple of {size} was expected.");
            read.Add((info, (nint)tensor.Data));
        }

        return read;
    }

    public void Dispose()
    {
        _copies.ForEach(copy => NativeMemory.AlignedFree((void*)copy));
        _copies.Clear();
    }

    private static TensorInfo Info(string name, DType dtype, ReadOnlySpan<long> lengths)
    {
        try
        {
            var info = new TensorInfo(name, dtype, new TensorShape(lengths));
            _ = info.ByteLength;
            return info;
        }
        catch (Exception e) when (e is OverflowException or FedIcuException)
        {
            throw new ArgumentException($"Tensor '{name}': its shape has more bytes than there can be.", e);
        }
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
