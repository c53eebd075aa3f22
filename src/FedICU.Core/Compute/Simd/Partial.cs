using System.Numerics;
using System.Runtime.CompilerServices;

namespace FedICU.Compute.Simd;

/// <summary>
/// Loads and stores the last elements of a run, fewer than eight: nothing is read or written past them.
/// </summary>
internal static unsafe class Partial<L>
    where L : unmanaged, ILanes<L>
{
    private struct Buffer
    {
        public fixed byte Bytes[64];
    }

    /// <summary>Loads the elements, and zeros after them.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    public static L Load<E>(byte* source, int count) where E : struct, IElement
    {
        Buffer buffer = default;
        Unsafe.CopyBlockUnaligned(buffer.Bytes, source, (uint)(count * E.Size));
        return E.Load<L>(buffer.Bytes);
    }

    /// <summary>Stores the first lanes as elements.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    public static void Store<E>(L value, byte* target, int count) where E : struct, IElement
    {
        Buffer buffer;
        E.Store(value, buffer.Bytes);
        Unsafe.CopyBlockUnaligned(target, buffer.Bytes, (uint)(count * E.Size));
    }

    /// <summary>Stores the lanes whose bits are set next to each other; returns their number.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    public static int StoreWhere(uint bits, L value, double* target)
    {
        if (bits == 0)
            return 0;
        Buffer buffer;
        L.Store(value, (double*)buffer.Bytes);
        int count = 0;
        for (; bits != 0; bits &= bits - 1)
            target[count++] = ((double*)buffer.Bytes)[BitOperations.TrailingZeroCount(bits)];
        return count;
    }

    /// <summary>Keeps the lanes before count, and sets the others to zero.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static L First(L value, int count) => L.And(value, L.LessThan(L.Indices, L.Broadcast(count)));
}
