using System.Runtime.CompilerServices;
using FedICU.Compute.Simd;

namespace FedICU.Compute;

// The ranks of MiddleMean in a block of keys: N rows of KeyBytes.
public sealed unsafe partial class SimdBackend
{
    /// <summary>Brings the ranks of a network to their rows.</summary>
    [MethodImpl(Kernel)]
    private static void Sort<K, V>(byte* block, byte[] steps)
        where K : struct, IKeyVector<V>
        where V : unmanaged
    {
        for (int at = 0; at < KeyBytes; at += 2 * K.Bytes, block += 2 * K.Bytes)
        {
            for (int i = 0; i < steps.Length - 1; i += 2)
            {
                byte* first = block + steps[i] * KeyBytes, second = block + steps[i + 1] * KeyBytes;
                V a = K.Load(first), b = K.Load(second), c = K.Load(first + K.Bytes), d = K.Load(second + K.Bytes);
                K.Store(K.Minimum(a, b), first);
                K.Store(K.Maximum(a, b), second);
                K.Store(K.Minimum(c, d), first + K.Bytes);
                K.Store(K.Maximum(c, d), second + K.Bytes);
            }
        }
    }

    /// <summary>
    /// Finds the ranks bit by bit, from the highest: a bit is set if at most as many keys as the rank are below the
    /// number that it makes.
    /// </summary>
    [MethodImpl(Kernel)]
    private static void SelectRanks<K, V>(byte* block, int inputs, in Middle middle)
        where K : struct, IKeyVector<V>
        where V : unmanaged
    {
        // one more than each rank
        V rankOfLo = K.Broadcast(middle.Trim + 1), rankOfHi = K.Broadcast(inputs - middle.Trim);
        for (int at = 0; at < KeyBytes; at += K.Bytes)
        {
            V lo = K.Broadcast(1L << K.Bits - 1), hi = lo, least = K.Load(block + at), largest = least;
            for (int bit = K.Bits - 1; bit >= 0; bit--)
            {
                V tryLo = K.Add(lo, K.Broadcast(1L << bit)), tryHi = K.Add(hi, K.Broadcast(1L << bit));
                V belowLo = K.Broadcast(0), belowHi = belowLo;
                for (int k = 0; k < inputs; k++)
                {
                    V key = K.Load(block + k * KeyBytes + at);
                    belowLo = K.CountLess(belowLo, key, tryLo);
                    belowHi = K.CountLess(belowHi, key, tryHi);
                    least = K.Minimum(least, key);
                    largest = K.Maximum(largest, key);
                }

                lo = K.SelectLess(belowLo, rankOfLo, tryLo, lo);
                hi = K.SelectLess(belowHi, rankOfHi, tryHi, hi);
            }

            K.Store(least, middle.Least + at);
            K.Store(lo, middle.Lo + at);
            K.Store(hi, middle.Hi + at);
            K.Store(largest, middle.Largest + at);
        }
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
    private static void ConvertRow<K, V>(byte* row)
        where K : struct, IKeyVector<V>
        where V : unmanaged
    {
        for (int at = 0; at < KeyBytes; at += K.Bytes)
            K.Store(K.Convert(K.Load(row + at)), row + at);
    }
}
