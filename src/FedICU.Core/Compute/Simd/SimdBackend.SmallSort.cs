using System.Runtime.CompilerServices;
using FedICU.Compute.Simd;

namespace FedICU.Compute;

// MiddleMean's sort of few inputs, which stay in registers.
public sealed unsafe partial class SimdBackend
{
    /// <summary>The largest number of inputs that are sorted in registers.</summary>
    private const int MaxSmallSort = 16;

    /// <summary>Sorts the keys of a block; the row of each rank follows the one before.</summary>
    private static void SortSmall<E, K, V>(byte** rows, nint offset, int inputs, byte* sorted)
        where E : struct, IElement
        where K : struct, IKeyVector<V>
        where V : unmanaged
    {
        switch (inputs)
        {
            case <= 4: SortSmall<Four, E, K, V>(rows, offset, inputs, sorted); break;
            case <= 8: SortSmall<Eight, E, K, V>(rows, offset, inputs, sorted); break;
            case <= 10: SortSmall<Ten, E, K, V>(rows, offset, inputs, sorted); break;
            case <= 12: SortSmall<Twelve, E, K, V>(rows, offset, inputs, sorted); break;
            default: SortSmall<Sixteen, E, K, V>(rows, offset, inputs, sorted); break;
        }
    }

    /// <summary>
    /// Sorts N rows, of which those after the inputs hold the largest key: Batcher's merge exchange, as in
    /// <see cref="SortingNetwork"/>. The steps of rows that N does not have are left out when this is compiled.
    /// </summary>
    [MethodImpl(Kernel)]
    private static void SortSmall<N, E, K, V>(byte** rows, nint offset, int inputs, byte* sorted)
        where N : struct, ICount
        where E : struct, IElement
        where K : struct, IKeyVector<V>
        where V : unmanaged
    {
        for (int at = 0; at < KeyBytes; at += K.Bytes)
        {
            V v0 = LoadKey<E, K, V>(rows, offset + at, 0, inputs);
            V v1 = LoadKey<E, K, V>(rows, offset + at, 1, inputs);
            V v2 = LoadKey<E, K, V>(rows, offset + at, 2, inputs);
            V v3 = LoadKey<E, K, V>(rows, offset + at, 3, inputs);
            V v4 = N.Value > 4 ? LoadKey<E, K, V>(rows, offset + at, 4, inputs) : default;
            V v5 = N.Value > 5 ? LoadKey<E, K, V>(rows, offset + at, 5, inputs) : default;
            V v6 = N.Value > 6 ? LoadKey<E, K, V>(rows, offset + at, 6, inputs) : default;
            V v7 = N.Value > 7 ? LoadKey<E, K, V>(rows, offset + at, 7, inputs) : default;
            V v8 = N.Value > 8 ? LoadKey<E, K, V>(rows, offset + at, 8, inputs) : default;
            V v9 = N.Value > 9 ? LoadKey<E, K, V>(rows, offset + at, 9, inputs) : default;
            V v10 = N.Value > 10 ? LoadKey<E, K, V>(rows, offset + at, 10, inputs) : default;
            V v11 = N.Value > 11 ? LoadKey<E, K, V>(rows, offset + at, 11, inputs) : default;
            V v12 = N.Value > 12 ? LoadKey<E, K, V>(rows, offset + at, 12, inputs) : default;
            V v13 = N.Value > 13 ? LoadKey<E, K, V>(rows, offset + at, 13, inputs) : default;
            V v14 = N.Value > 14 ? LoadKey<E, K, V>(rows, offset + at, 14, inputs) : default;
            V v15 = N.Value > 15 ? LoadKey<E, K, V>(rows, offset + at, 15, inputs) : default;

            Exchange<N, K, V>(ref v0, ref v8, 8); Exchange<N, K, V>(ref v1, ref v9, 9);
            Exchange<N, K, V>(ref v2, ref v10, 10); Exchange<N, K, V>(ref v3, ref v11, 11);
            Exchange<N, K, V>(ref v4, ref v12, 12); Exchange<N, K, V>(ref v5, ref v13, 13);
            Exchange<N, K, V>(ref v6, ref v14, 14); Exchange<N, K, V>(ref v7, ref v15, 15);

            Exchange<N, K, V>(ref v0, ref v4, 4); Exchange<N, K, V>(ref v1, ref v5, 5);
            Exchange<N, K, V>(ref v2, ref v6, 6); Exchange<N, K, V>(ref v3, ref v7, 7);
            Exchange<N, K, V>(ref v8, ref v12, 12); Exchange<N, K, V>(ref v9, ref v13, 13);
            Exchange<N, K, V>(ref v10, ref v14, 14); Exchange<N, K, V>(ref v11, ref v15, 15);

            Exchange<N, K, V>(ref v4, ref v8, 8); Exchange<N, K, V>(ref v5, ref v9, 9);
            Exchange<N, K, V>(ref v6, ref v10, 10); Exchange<N, K, V>(ref v7, ref v11, 11);

            Exchange<N, K, V>(ref v0, ref v2, 2); Exchange<N, K, V>(ref v1, ref v3, 3);
            Exchange<N, K, V>(ref v4, ref v6, 6); Exchange<N, K, V>(ref v5, ref v7, 7);
            Exchange<N, K, V>(ref v8, ref v10, 10); Exchange<N, K, V>(ref v9, ref v11, 11);
            Exchange<N, K, V>(ref v12, ref v14, 14); Exchange<N, K, V>(ref v13, ref v15, 15);

            Exchange<N, K, V>(ref v2, ref v8, 8); Exchange<N, K, V>(ref v3, ref v9, 9);
            Exchange<N, K, V>(ref v6, ref v12, 12); Exchange<N, K, V>(ref v7, ref v13, 13);

            Exchange<N, K, V>(ref v2, ref v4, 4); Exchange<N, K, V>(ref v3, ref v5, 5);
            Exchange<N, K, V>(ref v6, ref v8, 8); Exchange<N, K, V>(ref v7, ref v9, 9);
            Exchange<N, K, V>(ref v10, ref v12, 12); Exchange<N, K, V>(ref v11, ref v13, 13);

            Exchange<N, K, V>(ref v0, ref v1, 1); Exchange<N, K, V>(ref v2, ref v3, 3);
            Exchange<N, K, V>(ref v4, ref v5, 5); Exchange<N, K, V>(ref v6, ref v7, 7);
            Exchange<N, K, V>(ref v8, ref v9, 9); Exchange<N, K, V>(ref v10, ref v11, 11);
            Exchange<N, K, V>(ref v12, ref v13, 13); Exchange<N, K, V>(ref v14, ref v15, 15);

            Exchange<N, K, V>(ref v1, ref v8, 8); Exchange<N, K, V>(ref v3, ref v10, 10);
            Exchange<N, K, V>(ref v5, ref v12, 12); Exchange<N, K, V>(ref v7, ref v14, 14);

            Exchange<N, K, V>(ref v1, ref v4, 4); Exchange<N, K, V>(ref v3, ref v6, 6);
            Exchange<N, K, V>(ref v5, ref v8, 8); Exchange<N, K, V>(ref v7, ref v10, 10);
            Exchange<N, K, V>(ref v9, ref v12, 12); Exchange<N, K, V>(ref v11, ref v14, 14);

            Exchange<N, K, V>(ref v1, ref v2, 2); Exchange<N, K, V>(ref v3, ref v4, 4);
            Exchange<N, K, V>(ref v5, ref v6, 6); Exchange<N, K, V>(ref v7, ref v8, 8);
            Exchange<N, K, V>(ref v9, ref v10, 10); Exchange<N, K, V>(ref v11, ref v12, 12);
            Exchange<N, K, V>(ref v13, ref v14, 14);

            byte* to = sorted + at;
            K.Store(v0, to);
            K.Store(v1, to + KeyBytes);
            K.Store(v2, to + 2 * KeyBytes);
            K.Store(v3, to + 3 * KeyBytes);
            if (N.Value > 4)
                K.Store(v4, to + 4 * KeyBytes);
            if (N.Value > 5)
                K.Store(v5, to + 5 * KeyBytes);
            if (N.Value > 6)
                K.Store(v6, to + 6 * KeyBytes);
            if (N.Value > 7)
                K.Store(v7, to + 7 * KeyBytes);
            if (N.Value > 8)
                K.Store(v8, to + 8 * KeyBytes);
            if (N.Value > 9)
                K.Store(v9, to + 9 * KeyBytes);
            if (N.Value > 10)
                K.Store(v10, to + 10 * KeyBytes);
            if (N.Value > 11)
                K.Store(v11, to + 11 * KeyBytes);
            if (N.Value > 12)
                K.Store(v12, to + 12 * KeyBytes);
            if (N.Value > 13)
                K.Store(v13, to + 13 * KeyBytes);
            if (N.Value > 14)
                K.Store(v14, to + 14 * KeyBytes);
            if (N.Value > 15)
                K.Store(v15, to + 15 * KeyBytes);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static V LoadKey<E, K, V>(byte** rows, nint offset, int k, int inputs)
        where E : struct, IElement
        where K : struct, IKeyVector<V>
        where V : unmanaged
    {
        if (k >= inputs)
            return K.Broadcast(long.MaxValue >> 64 - K.Bits);
        byte* source = rows[k] + offset;
        if (E.PrefetchDistance > 0)
            PrefetchLine(source + E.PrefetchDistance);
        return K.Convert(K.Load(source));
    }

    /// <summary>Puts the smaller keys first, if N rows have the second.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Exchange<N, K, V>(ref V first, ref V second, int place)
        where N : struct, ICount
        where K : struct, IKeyVector<V>
        where V : unmanaged
    {
        if (N.Value > place)
            (first, second) = (K.Minimum(first, second), K.Maximum(first, second));
    }
}
