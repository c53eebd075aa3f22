using System.Buffers;
using System.Buffers.Binary;
using System.Diagnostics.CodeAnalysis;
using System.Numerics;
using System.Runtime.InteropServices;
using FedICU.Compute;

namespace FedICU;

/// <summary>Reads runs of one tensor's elements, wherever they are and in whatever form they were sent, as panels for a backend. Thread-safe.</summary>
internal abstract unsafe class PanelReader : IDisposable
{
    public abstract DType DType { get; }

    /// <summary>Whether all of the tensor lies in memory as it is read.</summary>
    public virtual bool IsInMemory => false;

    /// <summary>Whether panels are addresses of the round's device.</summary>
    public virtual bool IsOnDevice => false;

    /// <summary>The elements start .. start + count - 1, valid until the scratch is reset.</summary>
    public abstract TensorPanel Read(long start, int count, Scratch scratch);

    /// <summary>Bytes that <see cref="Preload"/> would allocate; 0 where nothing is to be gained.</summary>
    public virtual long PreloadBytes => 0;

    /// <summary>Brings the whole tensor into memory, for a strategy that will look at it more than once.</summary>
    public virtual void Preload(NativePool memory) { }

    /// <summary>Elements that will not be read again; told only in rounds larger than memory.</summary>
    public virtual void Forget(long start, long count) { }

    public abstract void Dispose();
}

/// <summary>
/// Elements as they stand in a source. Where that is a client's and breaks, the refusal names the client. Once disposed, it may be opened for another tensor.
/// </summary>
internal sealed unsafe class DensePanelReader : PanelReader
{
    private TensorSource _source;
    private TensorInfo _tensor;
    private int _elementSize;
    private (string Client, string Tensor)? _owner;
    private MemoryHandle _memory;
    private NativeBuffer? _loaded;
    private byte* _pointer;
    private bool _onDevice;

    /// <summary>Reads a tensor of a source.</summary>
    /// <param name="source">The source; borrowed.</param>
    /// <param name="tensor">One of its tensors.</param>
    /// <param name="owner">The client whose update it is, and the model's tensor; null where it is no client's.</param>
    /// <param name="number">The tensor's number there, where the caller thinks to know it.</param>
    /// <param name="onDevice">Whether panels may lie where the source has them, on a device.</param>
    public DensePanelReader(TensorSource source, TensorInfo tensor, (string Client, string Tensor)? owner = null, int number = int.MaxValue, bool onDevice = false) =>
        Open(source, tensor, owner, number, onDevice);

    /// <summary>Reads another tensor from now on, see <see cref="DensePanelReader"/>.</summary>
    [MemberNotNull(nameof(_source), nameof(_tensor))]
    public void Open(TensorSource source, TensorInfo tensor, (string Client, string Tensor)? owner, int number, bool onDevice)
    {
        (_source, _tensor, _elementSize, _owner, _onDevice) = (source, tensor, tensor.DType.BitSize / 8, owner, onDevice);
        if (onDevice)
            _pointer = (byte*)source.AddressOnDevice(tensor);
        else if (source.TryPin(tensor, number, out _memory))
            _pointer = (byte*)_memory.Pointer;
    }

    public override DType DType => _tensor.DType;

    public override bool IsInMemory => _pointer is not null;

    public override bool IsOnDevice => _onDevice;

    public override long PreloadBytes => _pointer is null ? _tensor.ByteLength : 0;

    public override TensorPanel Read(long start, int count, Scratch scratch)
    {
        if (_pointer is not null)
            return new TensorPanel(_pointer + start * _elementSize, DType, _onDevice);
        byte* copy = scratch.Take((long)count * _elementSize);
        Fill(start * _elementSize, new Span<byte>(copy, count * _elementSize));
        return new TensorPanel(copy, DType);
    }

    /// <summary>The same elements in memory that the caller may overwrite.</summary>
    public TensorPanel ReadCopy(long start, int count, Scratch scratch)
    {
        TensorPanel panel = Read(start, count, scratch);
        if (_pointer is null)
            return panel;
        int bytes = count * _elementSize;
        var copy = new TensorPanel(scratch.Take(bytes), DType);
        new ReadOnlySpan<byte>(panel.Data, bytes).CopyTo(new Span<byte>(copy.Data, bytes));
        return copy;
    }

    public override void Preload(NativePool memory)
    {
        if (_pointer is not null)
            return;
        var loaded = memory.Rent(_tensor.ByteLength);
        _loaded = loaded;
        Fill(0, new Span<byte>(loaded.Pointer, checked((int)_tensor.ByteLength)));
        _pointer = loaded.Pointer;
    }

    public override void Forget(long start, long count) => _source.Forget(_tensor, start * _elementSize, count * _elementSize);

    public override void Dispose()
    {
        _pointer = null;
        _memory.Dispose();
        _loaded?.Dispose();
        _loaded = null;
    }

    private void Fill(long offset, Span<byte> destination)
    {
        try
        {
            _source.Read(_tensor, offset, destination);
        }
        catch (InvalidModelException broken) when (_owner is var (client, tensor))
        {
            throw new RoundRejectedException(client, tensor, broken);
        }
    }
}

/// <summary>A packed update over the global model: sent entries as the client has them, the others as the global model has them.</summary>
internal sealed unsafe class SparsePanelReader(DensePanelReader global, PanelReader values, PanelReader mask, SparseMask counts) : PanelReader
{
    public override DType DType => global.DType;

    public override long PreloadBytes => values.PreloadBytes + mask.PreloadBytes;

    public override void Preload(NativePool memory)
    {
        values.Preload(memory);
        mask.Preload(memory);
    }

    public override TensorPanel Read(long start, int count, Scratch scratch)
    {
        TensorPanel dense = global.ReadCopy(start, count, scratch);
        // from the last counted entry on, so that the panel's place in the values is known
        (long counted, long before) = counts.LastUpTo(start);
        int skipped = (int)(start - counted), bytes = (skipped + count + 7) / 8;
        var bits = new ReadOnlySpan<byte>(mask.Read(counted / 8, bytes, scratch).Data, bytes);
        int unread = SparseMask.CountBefore(bits, skipped), sent = SparseMask.CountBefore(bits, skipped + count) - unread;
        if (sent == 0)
            return dense;
        void* packed = values.Read(before + unread, sent, scratch).Data;
        switch (DType.BitSize)
        {
            case 16: SparseMask.Scatter(bits, skipped, count, (ushort*)packed, (ushort*)dense.Data); break;
            case 32: SparseMask.Scatter(bits, skipped, count, (uint*)packed, (uint*)dense.Data); break;
            default: SparseMask.Scatter(bits, skipped, count, (ulong*)packed, (ulong*)dense.Data); break;
        }

        return dense;
    }

    // the global's reader belongs to the tensor, not to one client
    public override void Dispose()
    {
        values.Dispose();
        mask.Dispose();
    }
}

/// <summary>first + sign * second in float64: makes parameters of a delta, or a delta of parameters.</summary>
internal sealed unsafe class SumPanelReader(PanelReader first, PanelReader second, double sign, IComputeBackend backend) : PanelReader
{
    /// <summary>What the other is added to: the client's.</summary>
    public PanelReader First => first;

    public override DType DType => DType.F64;

    public override long PreloadBytes => first.PreloadBytes;

    public override void Preload(NativePool memory) => first.Preload(memory);

    public override void Forget(long start, long count) => first.Forget(start, count);

    public override TensorPanel Read(long start, int count, Scratch scratch)
    {
        double* coefficients = stackalloc double[2] { 1, sign };
        var sum = new TensorPanel(scratch.Take((long)count * sizeof(double)), DType.F64);
        backend.Combine([first.Read(start, count, scratch), second.Read(start, count, scratch)], new PanelGeometry(1, count, GroupsAreColumns: false),
            new GroupValues(coefficients, 1), null, sum, null);
        return sum;
    }

    public override void Dispose() => first.Dispose();
}

/// <summary>The values of another reader, in float64 and times a power of two. The other reader is the caller's to dispose of.</summary>
internal sealed unsafe class ScaledPanelReader(PanelReader values, double factor, IComputeBackend backend) : PanelReader
{
    public override DType DType => DType.F64;

    public override TensorPanel Read(long start, int count, Scratch scratch)
    {
        var scaled = new TensorPanel(scratch.Take((long)count * sizeof(double)), DType.F64);
        backend.WeightedSum([values.Read(start, count, scratch)], [factor], 1, count, scaled);
        return scaled;
    }

    public override void Dispose() { }
}

/// <summary>A combination of a tensor's inputs in float64, before it is scaled and rounded: in memory, or where the inputs are, on the device.</summary>
internal readonly unsafe struct Unrounded(IDisposable memory, void* values, bool onDevice) : IDisposable
{
    public bool OnDevice => onDevice;

    /// <summary>The values from element <paramref name="start"/> on.</summary>
    public TensorPanel From(long start) => new((double*)values + start, DType.F64, onDevice);

    public void Dispose() => memory.Dispose();
}

/// <summary>Reads values that somebody else keeps.</summary>
internal sealed class UnroundedReader : PanelReader
{
    public Unrounded? Values { get; set; }

    public override DType DType => DType.F64;

    public override bool IsInMemory => true;

    public override bool IsOnDevice => Values!.Value.OnDevice;

    public override TensorPanel Read(long start, int count, Scratch scratch) => Values!.Value.From(start);

    public override void Dispose() => Values = null;
}

/// <summary>
/// How many entries of a packed tensor were sent before each block of its mask. The bits, one for each entry and the least significant first, stay in
/// the source: kept in memory they would grow with the clients.
/// </summary>
internal sealed class SparseMask
{
    private const int BlockBytes = 1 << 13;

    // of masks of one block, as most have
    private static readonly long[] OneBlock = [0];

    private readonly long[] _before;

    /// <summary>Reads the whole mask once and counts.</summary>
    public SparseMask(TensorSource source, TensorInfo mask)
    {
        _before = mask.ByteLength < BlockBytes ? OneBlock : new long[mask.ByteLength / BlockBytes + 1];
        byte[] block = new byte[Math.Min(BlockBytes, mask.ByteLength)];
        for (long at = 0; at < mask.ByteLength; at += BlockBytes)
        {
            Span<byte> bits = block.AsSpan(0, (int)Math.Min(BlockBytes, mask.ByteLength - at));
            source.Read(mask, at, bits);
            Count += CountBefore(bits, 8 * bits.Length);
            if (bits.Length == BlockBytes)
                _before[at / BlockBytes + 1] = Count;
            LastByte = bits[^1];
        }
    }

    /// <summary>How many entries were sent.</summary>
    public long Count { get; }

    /// <summary>The mask's last byte, 0 where it has none.</summary>
    public byte LastByte { get; }

    /// <summary>The last entry up to <paramref name="element"/> with a count, and how many were sent before it.</summary>
    public (long Element, long Before) LastUpTo(long element)
    {
        long block = element / (8 * BlockBytes);
        return (block * 8 * BlockBytes, _before[block]);
    }

    /// <summary>How many of the bits before <paramref name="bit"/> are set.</summary>
    public static int CountBefore(ReadOnlySpan<byte> bits, int bit)
    {
        int count = 0;
        ReadOnlySpan<byte> whole = bits[..(bit / 8)];
        ReadOnlySpan<ulong> words = MemoryMarshal.Cast<byte, ulong>(whole);
        foreach (ulong word in words)
            count += BitOperations.PopCount(word);
        foreach (byte rest in whole[(words.Length * sizeof(ulong))..])
            count += BitOperations.PopCount(rest);
        return bit % 8 == 0 ? count : count + BitOperations.PopCount(bits[bit / 8] & ((1u << bit % 8) - 1));
    }

    /// <summary>Puts the packed entries where their bits are: entry i of <paramref name="dense"/> has the bit first + i.</summary>
    public static unsafe void Scatter<T>(ReadOnlySpan<byte> bits, int first, int count, T* packed, T* dense) where T : unmanaged
    {
        const int WordBits = 64;
        int end = first + count;
        for (int at = first & ~7; at < end; at += WordBits)
        {
            ulong word = Word(bits[(at / 8)..]);
            if (at < first)
                word &= ulong.MaxValue << first - at;
            if (end - at < WordBits)
                word &= (1UL << end - at) - 1;
            T* target = dense + (at - first);
            if (word == ulong.MaxValue)
            {
                new ReadOnlySpan<T>(packed, WordBits).CopyTo(new Span<T>(target, WordBits));
                packed += WordBits;
                continue;
            }

            for (; word != 0; word &= word - 1)
                target[BitOperations.TrailingZeroCount(word)] = *packed++;
        }
    }

    private static ulong Word(ReadOnlySpan<byte> bits)
    {
        if (bits.Length >= sizeof(ulong))
            return BinaryPrimitives.ReadUInt64LittleEndian(bits);
        ulong word = 0;
        for (int i = 0; i < bits.Length; i++)
            word |= (ulong)bits[i] << 8 * i;
        return word;
    }
}
