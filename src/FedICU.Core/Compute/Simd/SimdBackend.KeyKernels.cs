using System.Runtime.CompilerServices;
using FedICU.Compute.Simd;

namespace FedICU.Compute;

// MiddleMean's work on a block of keys: N rows of KeyBytes.
public sealed unsafe partial class SimdBackend
{
    /// <summary>Converts a block of elements to keys.</summary>
    [MethodImpl(Kernel)]
    private static void LoadKeys<K, V>(byte** rows, nint offset, int inputs, byte* keys)
        where K : struct, IKeyVector<V>
        where V : unmanaged
    {
        for (int k = 0; k < inputs; k++, keys += KeyBytes)
        {
            byte* row = rows[k] + offset;
            for (int at = 0; at < KeyBytes; at += 2 * K.Bytes)
            {
                K.Store(K.Convert(K.Load(row + at)), keys + at);
                K.Store(K.Convert(K.Load(row + at + K.Bytes)), keys + at + K.Bytes);
            }
        }
    }

    /// <summary>Brings the ranks of a network to their rows.</summary>
    [MethodImpl(Kernel)]
    private static void Sort<K, V>(byte* keys, byte[] steps)
        where K : struct, IKeyVector<V>
        where V : unmanaged
    {
        fixed (byte* begin = steps)
        {
            byte* end = begin + steps.Length;
            for (int at = 0; at < KeyBytes; at += 2 * K.Bytes, keys += 2 * K.Bytes)
            {
                for (byte* step = begin; step < end; step += 2)
                {
                    byte* first = keys + step[0] * KeyBytes, second = keys + step[1] * KeyBytes;
                    V a = K.Load(first), b = K.Load(second), c = K.Load(first + K.Bytes), d = K.Load(second + K.Bytes);
                    K.Store(K.Minimum(a, b), first);
                    K.Store(K.Maximum(a, b), second);
                    K.Store(K.Minimum(c, d), first + K.Bytes);
                    K.Store(K.Maximum(c, d), second + K.Bytes);
                }
            }
        }
    }

    /// <summary>Finds the keys of ranks 0, trim, N - 1 - trim and N - 1, by passes over all keys.</summary>
    [MethodImpl(Kernel)]
    private static void SelectRanks<K, V>(byte* keys, int inputs, int trim, byte* ranks)
        where K : struct, IKeyVector<V>
        where V : unmanaged
    {
        int kept = inputs - 2 * trim;
        for (int at = 0; at < KeyBytes; at += K.Bytes, keys += K.Bytes, ranks += K.Bytes)
        {
            V least = K.Load(keys), largest = least;
            for (int k = 1; k < inputs; k++)
            {
                V key = K.Load(keys + k * KeyBytes);
                least = K.Minimum(least, key);
                largest = K.Maximum(largest, key);
            }

            V lo = SelectRank<K, V>(keys, inputs, trim);
            V hi = kept switch
            {
                1 => lo,
                2 => SelectNext<K, V>(keys, inputs, trim + 1, lo),
                _ => SelectRank<K, V>(keys, inputs, inputs - 1 - trim),
            };
            K.Store(least, ranks);
            K.Store(lo, ranks + KeyBytes);
            K.Store(hi, ranks + 2 * KeyBytes);
            K.Store(largest, ranks + 3 * KeyBytes);
        }
    }

    /// <summary>
    /// Finds the key of a rank bit by bit, from the highest: a bit is set if at most as many keys as the rank are below
    /// the number that it makes. Ends as soon as the bits leave one key in every lane.
    /// </summary>
    [MethodImpl(Kernel)]
    private static V SelectRank<K, V>(byte* keys, int inputs, int rank)
        where K : struct, IKeyVector<V>
        where V : unmanaged
    {
        V one = K.Broadcast(1), end = K.Broadcast(rank + 1), found = K.Broadcast(1L << K.Bits - 1);
        // how many keys are below the number, and below the end of its range
        V below = K.Broadcast(0), belowEnd = K.Broadcast(inputs);
        for (int bit = K.Bits - 1; bit >= 0; bit--)
        {
            V tried = K.Add(found, K.Broadcast(1L << bit)), count = K.Broadcast(0);
            for (int k = 0; k < inputs; k++)
                count = K.CountLess(count, K.Load(keys + k * KeyBytes), tried);
            found = K.SelectLess(count, end, tried, found);
            below = K.SelectLess(count, end, count, below);
            belowEnd = K.SelectLess(count, end, belowEnd, count);
            if (!K.IsAnyLess(K.Add(below, one), belowEnd))
                break;
        }

        // the smallest key from the number on
        V largest = K.Broadcast(long.MaxValue >> 64 - K.Bits), key = largest;
        for (int k = 0; k < inputs; k++)
        {
            V candidate = K.Load(keys + k * KeyBytes);
            key = K.Minimum(key, K.SelectLess(candidate, found, largest, candidate));
        }

        return key;
    }

    /// <summary>Finds the key of a rank from the key of the rank before.</summary>
    [MethodImpl(Kernel)]
    private static V SelectNext<K, V>(byte* keys, int inputs, int rank, V previous)
        where K : struct, IKeyVector<V>
        where V : unmanaged
    {
        V largest = K.Broadcast(long.MaxValue >> 64 - K.Bits), next = largest, above = K.Broadcast(0);
        for (int k = 0; k < inputs; k++)
        {
            V key = K.Load(keys + k * KeyBytes);
            above = K.CountLess(above, previous, key);
            next = K.Minimum(next, K.SelectLess(previous, key, key, largest));
        }

        // a key above has this rank if no other key equals the previous one
        return K.SelectLess(above, K.Broadcast(inputs - rank), previous, next);
    }

    /// <summary>Returns whether the least and largest keys of a block are those of finite values.</summary>
    [MethodImpl(Kernel)]
    private static bool AreKeysFinite<E, K, V>(byte* least, byte* largest)
        where E : struct, IElement
        where K : struct, IKeyVector<V>
        where V : unmanaged
    {
        // the key of -infinity is the complement of that of infinity
        V limit = K.Broadcast(E.InfinityBits - 1), negativeLimit = K.Broadcast(~E.InfinityBits + 1);
        for (int at = 0; at < KeyBytes; at += K.Bytes)
        {
            if (K.IsAnyLess(limit, K.Load(largest + at)) || K.IsAnyLess(K.Load(least + at), negativeLimit))
                return false;
        }

        return true;
    }

    /// <summary>Converts a row of keys to elements.</summary>
    [MethodImpl(Kernel)]
    private static void ConvertRow<K, V>(byte* row, byte* target)
        where K : struct, IKeyVector<V>
        where V : unmanaged
    {
        for (int at = 0; at < KeyBytes; at += K.Bytes)
            K.Store(K.Convert(K.Load(row + at)), target + at);
    }

    /// <summary>Computes (lo + hi) / 2 in float64 for a row, rounded to type Y.</summary>
    [MethodImpl(Kernel)]
    private static void AverageTwo<L, E, Y>(byte* lo, byte* hi, byte* target)
        where L : unmanaged, ILanes<L>
        where E : struct, IElement
        where Y : struct, IElement
    {
        L half = L.Broadcast(0.5);
        for (int i = 0; i < KeyBytes / E.Size; i += Lanes)
            Y.StoreFinite(L.Multiply(L.Add(E.Load<L>(lo + i * E.Size), E.Load<L>(hi + i * E.Size)), half), target + i * Y.Size);
    }

    /// <summary>
    /// Computes the means of the values from lo to hi, which are rows of keys, in float64. Converts both rows to
    /// elements.
    /// </summary>
    private static void AverageBetween<L, E, K, V>(in Middle middle, nint offset, int inputs, byte* lo, byte* hi)
        where L : unmanaged, ILanes<L>
        where E : struct, IElement
        where K : struct, IKeyVector<V>
        where V : unmanaged
    {
        byte* above = stackalloc byte[2 * KeyBytes], below = above + KeyBytes;
        SumBetween<L, E, K, V>(middle, offset, inputs, lo, hi, above, below);
        ConvertRow<K, V>(lo, lo);
        ConvertRow<K, V>(hi, hi);
        FinishMeans<L, E>(middle, inputs, lo, hi, above, below);
    }

    /// <summary>
    /// Sums the values strictly between two rows of keys, and counts the values above the one and below the other.
    /// </summary>
    /// <remarks>
    /// The bits of a power of two whose last place is worth 1, plus a count, are the sum of both as an element.
    /// </remarks>
    [MethodImpl(Kernel)]
    private static void SumBetween<L, E, K, V>(in Middle middle, nint offset, int inputs, byte* lo, byte* hi, byte* above, byte* below)
        where L : unmanaged, ILanes<L>
        where E : struct, IElement
        where K : struct, IKeyVector<V>
        where V : unmanaged
    {
        // eight elements of float64
        const int Part = 64;
        byte* between = stackalloc byte[Part];
        byte** rows = middle.Rows;
        V zero = K.Broadcast(0);
        for (int at = 0; at < KeyBytes; at += K.Bytes)
        {
            K.Store(K.Broadcast(E.UnitBits), above + at);
            K.Store(K.Broadcast(E.UnitBits), below + at);
        }

        for (int part = 0; part < KeyBytes; part += Part, lo += Part, hi += Part, above += Part, below += Part)
        {
            L s0 = L.Broadcast(0), s1 = s0, s2 = s0, s3 = s0;
            for (int k = 0; k < inputs; k++)
            {
                byte* row = rows[k] + offset + part;
                for (int at = 0; at < Part; at += K.Bytes)
                {
                    V value = K.Load(row + at), key = K.Convert(value), low = K.Load(lo + at), high = K.Load(hi + at);
                    K.Store(K.SelectLess(low, key, K.SelectLess(key, high, value, zero), zero), between + at);
                    K.Store(K.CountLess(K.Load(above + at), low, key), above + at);
                    K.Store(K.CountLess(K.Load(below + at), key, high), below + at);
                }

                s0 = L.Add(s0, E.Load<L>(between));
                if (E.Size < sizeof(double))
                    s1 = L.Add(s1, E.Load<L>(between + Lanes * E.Size));
                if (E.Size < sizeof(float))
                {
                    s2 = L.Add(s2, E.Load<L>(between + 2 * Lanes * E.Size));
                    s3 = L.Add(s3, E.Load<L>(between + 3 * Lanes * E.Size));
                }
            }

            double* sums = middle.Values + part / E.Size;
            L.Store(s0, sums);
            if (E.Size < sizeof(double))
                L.Store(s1, sums + Lanes);
            if (E.Size < sizeof(float))
            {
                L.Store(s2, sums + 2 * Lanes);
                L.Store(s3, sums + 3 * Lanes);
            }
        }
    }

    /// <summary>Adds the kept values that equal lo and hi to the sums, and divides.</summary>
    [MethodImpl(Kernel)]
    private static void FinishMeans<L, E>(in Middle middle, int inputs, byte* lo, byte* hi, byte* above, byte* below)
        where L : unmanaged, ILanes<L>
        where E : struct, IElement
    {
        L kept = L.Broadcast(inputs - 2 * middle.Trim), one = L.Broadcast(1), ranks = L.Broadcast(inputs - middle.Trim + E.Unit);
        for (int i = 0; i < KeyBytes / E.Size; i += Lanes)
        {
            int at = i * E.Size;
            L low = E.Load<L>(lo + at), high = E.Load<L>(hi + at);
            L sum = L.FusedMultiplyAdd(L.Subtract(ranks, E.Load<L>(above + at)), low, L.Load(middle.Values + i));
            sum = L.FusedMultiplyAdd(L.Subtract(ranks, E.Load<L>(below + at)), high, sum);
            // equal values are not averaged; two zeros of different signs give +0
            L differ = L.LessThan(low, high), equal = L.LessThan(L.And(differ, one), one);
            L.Store(L.Or(L.And(L.Divide(sum, kept), differ), L.And(L.And(low, high), equal)), middle.Values + i);
        }
    }
}
