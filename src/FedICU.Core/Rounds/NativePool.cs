using System.Numerics;
using System.Runtime.InteropServices;

namespace FedICU;

/// <summary>
/// Memory that one step of a round gave back and the next will want again: the system would take its pages and clear them each time. Sizes are powers of
/// two; what is large is not kept. Thread-safe.
/// </summary>
internal sealed unsafe class NativePool : IDisposable
{
    private const long LargestBytes = 8 << 20, SmallestBytes = 1 << 10;

    private readonly Lock _gate = new();
    private readonly Dictionary<long, Stack<nint>> _kept = [];
    private bool _disposed;

    /// <summary>Memory for so many bytes, not cleared unless asked.</summary>
    public NativeBuffer Rent(long bytes, bool clear = false)
    {
        NativeBuffer buffer;
        if (bytes > LargestBytes)
        {
            buffer = new NativeBuffer(bytes);
        }
        else
        {
            long capacity = (long)BitOperations.RoundUpToPowerOf2((ulong)Math.Max(bytes, SmallestBytes));
            nint kept = 0;
            lock (_gate)
            {
                if (_kept.TryGetValue(capacity, out Stack<nint>? stack))
                    stack.TryPop(out kept);
            }

            buffer = new NativeBuffer(bytes, capacity, this, kept);
        }

        if (clear)
            NativeMemory.Clear(buffer.Pointer, (nuint)bytes);
        return buffer;
    }

    /// <summary>Takes memory back; false where the round is over.</summary>
    public bool TryKeep(nint pointer, long capacity)
    {
        lock (_gate)
        {
            if (_disposed)
                return false;
            if (!_kept.TryGetValue(capacity, out Stack<nint>? stack))
                _kept.Add(capacity, stack = new Stack<nint>());
            stack.Push(pointer);
            return true;
        }
    }

    public void Dispose()
    {
        lock (_gate)
        {
            _disposed = true;
            foreach (nint pointer in _kept.Values.SelectMany(pointers => pointers))
                NativeMemory.AlignedFree((void*)pointer);
            _kept.Clear();
        }
    }
}
