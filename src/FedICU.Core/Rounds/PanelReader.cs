using System.Buffers;
using System.Numerics;
using System.Runtime.InteropServices;
using FedICU.Compute;

namespace FedICU;

/// <summary>Reads runs of one tensor's elements, wherever they are and in whatever form they were sent, as panels for a backend. Thread-safe.</summary>
internal abstract unsafe class PanelReader : IDisposable
{
    public abstract DType DType { get; }

    /// <summary>The elements start .. start + count - 1, valid until the scratch is reset.</summary>
    public abstract TensorPanel Read(long start, int count, Scratch scratch);

    /// <summary>Bytes that <see cref="Preload"/> would allocate; 0 where nothing is to be gained.</summary>
    public virtual long PreloadBytes => 0;

    /// <summary>Brings the whole tensor into memory, for a strategy that will look at it more than once.</summary>
    public virtual void Preload(NativePool memory) { }

    public abstract void Dispose();
}

/// <summary>Elements as they stand in a source.</summary>
internal sealed unsafe class DensePanelReader : PanelReader
{
    private readonly TensorSource _source;
    private readonly TensorInfo _tensor;
    private readonly int _elementSize;
    private MemoryHandle _memory;
    private NativeBuffer? _loaded;
    private byte* _pointer;

    public DensePanelReader(TensorSource source, TensorInfo tensor)
    {
        (_source, _tensor, _elementSize) = (source, tensor, tensor.DType.BitSize / 8);
        if (source.TryPin(tensor, out _memory))
            _pointer = (byte*)_memory.Pointer;
    }

    public override DType DType => _tensor.DType;

    public override long PreloadBytes => _pointer is null ? _tensor.ByteLength : 0;

    public override TensorPanel Read(long start, int count, Scratch scratch)
    {
        if (_pointer is not null)
            return new TensorPanel(_pointer + start * _elementSize, DType);
        byte* copy = scratch.Take((long)count * _elementSize);
        _source.Read(_tensor, start * _elementSize, new Span<byte>(copy, count * _elementSize));
        return new TensorPanel(copy, DType);
    }

    public override void Preload(NativePool memory)
    {
        if (_pointer is not null)
            return;
        var loaded = memory.Rent(_tensor.ByteLength);
        _loaded = loaded;
        _source.Read(_tensor, 0, new Span<byte>(loaded.Pointer, checked((int)_tensor.ByteLength)));
        _pointer = loaded.Pointer;
    }

    public override void Dispose()
    {
        _pointer = null;
        _memory.Dispose();
        _loaded?.Dispose();
    }
}

/// <summary>A packed update over the global model: sent entries as the client has them, the others as the global model has them.</summary>
internal sealed unsafe class SparsePanelReader(PanelReader global, PanelReader values, SparseMask mask) : PanelReader
{
    public override DType DType => global.DType;

    public override long PreloadBytes => values.PreloadBytes;

    public override void Preload(NativePool memory) => values.Preload(memory);

    public override TensorPanel Read(long start, int count, Scratch scratch)
    {
        int size = DType.BitSize / 8;
        byte* dense = scratch.Take((long)count * size);
        new ReadOnlySpan<byte>(global.Read(start, count, scratch).Data, count * size).CopyTo(new Span<byte>(dense, count * size));
        long first = mask.CountBefore(start);
        int sent = (int)(mask.CountBefore(start + count) - first);
        if (sent == 0)
            return new TensorPanel(dense, DType);
        void* packed = values.Read(first, sent, scratch).Data;
        switch (size)
        {
            case 2: mask.Scatter(start, count, (ushort*)packed, (ushort*)dense); break;
            case 4: mask.Scatter(start, count, (uint*)packed, (uint*)dense); break;
            default: mask.Scatter(start, count, (ulong*)packed, (ulong*)dense); break;
        }

        return new TensorPanel(dense, DType);
    }

    // the global's reader belongs to the tensor, not to one client
    public override void Dispose() => values.Dispose();
}

/// <summary>first + sign * second in float64: makes parameters of a delta, or a delta of parameters.</summary>
internal sealed unsafe class SumPanelReader(PanelReader first, PanelReader second, double sign, IComputeBackend backend) : PanelReader
{
    public override DType DType => DType.F64;

    public override long PreloadBytes => first.PreloadBytes;

    public override void Preload(NativePool memory) => first.Preload(memory);

    public override TensorPanel Read(long start, int count, Scratch scratch)
    {
        double* coefficients = stackalloc double[2] { 1, sign };
        var sum = new TensorPanel(scratch.Take((long)count * sizeof(double)), DType.F64);
        backend.Combine([first.Read(start, count, scratch), second.Read(start, count, scratch)], new PanelGeometry(1, count, GroupsAreColumns: false),
            new GroupValues(coefficients, 1), sum, null);
        return sum;
    }

    public override void Dispose() => first.Dispose();
}

/// <summary>Which entries of a tensor were sent: a bit each, least significant first.</summary>
internal sealed class SparseMask
{
    private const int BlockBytes = 512;

    private readonly byte[] _bits;
    private readonly long[] _before;

    /// <summary>Takes the bits and counts them.</summary>
    public SparseMask(byte[] bits)
    {
        _bits = bits;
        _before = new long[bits.Length / BlockBytes + 1];
        for (int block = 1; block < _before.Length; block++)
            _before[block] = _before[block - 1] + PopCount(bits.AsSpan((block - 1) * BlockBytes, BlockBytes));
        Count = CountBefore(8L * bits.Length);
    }

    /// <summary>How many entries were sent.</summary>
    public long Count { get; }

    public long CountBefore(long element)
    {
        int bytes = (int)(element / 8);
        int block = bytes / BlockBytes;
        long count = _before[block] + PopCount(_bits.AsSpan(block * BlockBytes, bytes - block * BlockBytes));
        int rest = (int)(element % 8);
        return rest == 0 ? count : count + BitOperations.PopCount(_bits[bytes] & ((1u << rest) - 1));
    }

    public unsafe void Scatter<T>(long start, int count, T* packed, T* dense) where T : unmanaged
    {
        for (int i = 0; i < count; i++)
        {
            long element = start + i;
            if ((_bits[element >> 3] >> (int)(element & 7) & 1) != 0)
                dense[i] = *packed++;
        }
    }

    private static long PopCount(ReadOnlySpan<byte> bytes)
    {
        long count = 0;
        ReadOnlySpan<ulong> words = MemoryMarshal.Cast<byte, ulong>(bytes);
        foreach (ulong word in words)
            count += BitOperations.PopCount(word);
        foreach (byte rest in bytes[(words.Length * sizeof(ulong))..])
            count += BitOperations.PopCount(rest);
        return count;
    }
}
