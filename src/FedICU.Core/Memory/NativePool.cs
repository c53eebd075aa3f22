using System.Numerics;
using System.Runtime.InteropServices;

namespace FedICU.Memory;

/// <summary>
/// A pool of native memory, from which successive steps of a round reuse buffers. Fresh pages would have to be cleared
/// by the operating system each time. Sizes are powers of two; large buffers are not kept. Thread-safe.
/// </summary>
internal sealed unsafe class NativePool : IDisposable
{
    // log2 of the bytes of the largest buffer that is kept; chosen
    private const int LargestBits = 27;

    // log2 of the bytes of the smallest buffer; chosen
    private const int SmallestBits = 10;

    private readonly Lock _gate = new();
    // The first buffer of a linked list for each size; null once the round has ended.
    private GroupBuffer?[]? _kept = new GroupBuffer?[LargestBits + 1];

    /// <summary>Returns memory for the given number of bytes. It is not cleared.</summary>
    public NativeBuffer Rent(long bytes) => Rent(1, (bytes + sizeof(double) - 1) / sizeof(double), clear: false);

    /// <summary>Returns room for one value per input and group.</summary>
    public GroupBuffer Rent(int inputs, long groups, bool clear)
    {
        long bytes = inputs * groups * sizeof(double);
        int bits = Math.Max(BitOperations.Log2((ulong)Math.Max(bytes, 1) - 1) + 1, SmallestBits);
        GroupBuffer? buffer = null;
        if (bits <= LargestBits)
        {
            lock (_gate)
            {
                if (_kept is not null && (buffer = _kept[bits]) is not null)
                    _kept[bits] = buffer.Next;
            }
        }

        buffer ??= bits > LargestBits ? new GroupBuffer(Math.Max(bytes, 1), null) : new GroupBuffer(1L << bits, this);
        buffer.MarkLent(inputs, groups);
        if (clear)
            NativeMemory.Clear(buffer.Pointer, (nuint)bytes);
        return buffer;
    }

    /// <summary>Takes a buffer back into the pool. Returns false if the round has ended.</summary>
    public bool TryKeep(GroupBuffer buffer)
    {
        lock (_gate)
        {
            if (_kept is not null && buffer.IsLent)
            {
                ref GroupBuffer? first = ref _kept[BitOperations.Log2((ulong)buffer.ByteLength)];
                buffer.MarkKept(first);
                first = buffer;
            }

            return _kept is not null;
        }
    }

    public void Dispose()
    {
        GroupBuffer?[]? kept;
        lock (_gate)
            (kept, _kept) = (_kept, null);
        foreach (GroupBuffer? first in kept ?? [])
        {
            for (GroupBuffer? buffer = first; buffer is not null; buffer = buffer.Next)
                buffer.Dispose();
        }
    }
}
