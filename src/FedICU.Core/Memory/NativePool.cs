using System.Numerics;
using System.Runtime.InteropServices;

namespace FedICU.Memory;

/// <summary>
/// Memory that one step of a round gave back and the next will want again: the system would take its pages and clear them each time. Sizes are powers of
/// two; what is large is not kept. Thread-safe.
/// </summary>
internal sealed unsafe class NativePool : IDisposable
{
    private const int LargestBits = 27, SmallestBits = 10;

    private readonly Lock _gate = new();
    // of each size a chain; null once the round is over
    private GroupBuffer?[]? _kept = new GroupBuffer?[LargestBits + 1];

    /// <summary>Memory for so many bytes, not cleared.</summary>
    public NativeBuffer Rent(long bytes) => Rent(1, (bytes + sizeof(double) - 1) / sizeof(double), clear: false);

    /// <summary>Room for a value of each input and group.</summary>
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
        buffer.BeLent(inputs, groups);
        if (clear)
            NativeMemory.Clear(buffer.Pointer, (nuint)bytes);
        return buffer;
    }

    /// <summary>Takes memory of its own back; false where the round is over.</summary>
    public bool TryKeep(GroupBuffer buffer)
    {
        lock (_gate)
        {
            if (_kept is not null && buffer.IsLent)
            {
                ref GroupBuffer? first = ref _kept[BitOperations.Log2((ulong)buffer.ByteLength)];
                buffer.BeKept(first);
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
