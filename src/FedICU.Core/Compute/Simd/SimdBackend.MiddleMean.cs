using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using FedICU.Compute.Reference;
using FedICU.Compute.Simd;

namespace FedICU.Compute;

// MiddleMean: for a block of elements, two ranks are found among sort keys. Few inputs are sorted in registers, more by
// a network in the L1 cache; of many, the ranks are found by counting. Then the values between them are summed.
public sealed unsafe partial class SimdBackend
{
    /// <summary>Bytes of each input in a block.</summary>
    private const int KeyBytes = 128;

    /// <summary>Bytes of a tile of blocks. Chosen: stays in the L1 cache beside one block of keys.</summary>
    private const int KeyTileBytes = 32 << 10;

    /// <summary>The fewest blocks of a tile. Chosen: shorter runs of each input are slower to read.</summary>
    private const int MinKeyBlocks = 8;

    /// <inheritdoc/>
    public long MiddleMean(ReadOnlySpan<TensorPanel> inputs, int trim, int length, TensorPanel output)
    {
        ScalarMath.CheckTrim(inputs.Length, trim);
        return (Width, GetKeyType(inputs, trim)) switch
        {
            (512, DType.F64) => MiddleMean<Lanes512, F64, Keys512<long>, Vector512<long>>(inputs, trim, length, output),
            (512, DType.F32) => MiddleMean<Lanes512, F32, Keys512<int>, Vector512<int>>(inputs, trim, length, output),
            (512, DType.F16) => MiddleMean<Lanes512, F16, Keys512<short>, Vector512<short>>(inputs, trim, length, output),
            (512, _) => MiddleMean<Lanes512, BF16, Keys512<short>, Vector512<short>>(inputs, trim, length, output),
            (256, DType.F64) => MiddleMean<Lanes256, F64, Keys256<long>, Vector256<long>>(inputs, trim, length, output),
            (256, DType.F32) => MiddleMean<Lanes256, F32, Keys256<int>, Vector256<int>>(inputs, trim, length, output),
            (256, DType.F16) => MiddleMean<Lanes256, F16, Keys256<short>, Vector256<short>>(inputs, trim, length, output),
            (256, _) => MiddleMean<Lanes256, BF16, Keys256<short>, Vector256<short>>(inputs, trim, length, output),
            (_, DType.F64) => MiddleMean<Lanes128, F64, Keys128<long>, Vector128<long>>(inputs, trim, length, output),
            (_, DType.F32) => MiddleMean<Lanes128, F32, Keys128<int>, Vector128<int>>(inputs, trim, length, output),
            (_, DType.F16) => MiddleMean<Lanes128, F16, Keys128<short>, Vector128<short>>(inputs, trim, length, output),
            (_, _) => MiddleMean<Lanes128, BF16, Keys128<short>, Vector128<short>>(inputs, trim, length, output),
        };
    }

    /// <summary>
    /// Returns the narrowest type that holds all inputs exactly. Lanes of 16 bits also count inputs: more than they can
    /// count are compared as float32.
    /// </summary>
    private static DType GetKeyType(ReadOnlySpan<TensorPanel> inputs, int trim)
    {
        // SumBetween counts in the fraction of a bfloat16, SelectRanks in 16 bits
        int maxCount = inputs.Length - 2 * trim > 2 ? (1 << 7) - 1 : short.MaxValue;
        DType common = inputs[0].DType;
        foreach (TensorPanel input in inputs)
        {
            if (input.DType is not (DType.F64 or DType.F32 or DType.F16 or DType.BF16))
                throw Rounding.NotComputed(input.DType);
            if (input.DType != common)
                common = common == DType.F64 || input.DType == DType.F64 ? DType.F64 : DType.F32;
        }

        return inputs.Length > maxCount && common != DType.F64 ? DType.F32 : common;
    }

    private static long MiddleMean<L, E, K, V>(ReadOnlySpan<TensorPanel> inputs, int trim, int length, TensorPanel output)
        where L : unmanaged, ILanes<L>
        where E : struct, IElement
        where K : struct, IKeyVector<V>
        where V : unmanaged
    {
        int n = inputs.Length, elements = KeyBytes / E.Size, whole = length / elements;
        int sorted = Math.Max(n, MaxSmallSort);
        int blocks = Math.Min(Math.Max(KeyTileBytes / (n * KeyBytes), MinKeyBlocks), whole + 1);
        nint blockBytes = (nint)n * KeyBytes;
        // a tile of blocks, one block of keys, four rows of ranks, a row's float64 values, and the rows' addresses
        nint valueBytes = elements * sizeof(double), bytes = blocks * blockBytes + (sorted + 4) * KeyBytes + valueBytes + n * sizeof(byte*);
        byte* tile = (byte*)NativeMemory.AlignedAlloc((nuint)bytes, Slack);
        try
        {
            byte* keys = tile + blocks * blockBytes, ranks = keys + sorted * KeyBytes;
            var middle = new Middle
            {
                Trim = trim,
                Rows = (byte**)(ranks + 4 * KeyBytes + valueBytes),
                Keys = keys,
                Steps = n is > MaxSmallSort and <= SortingNetwork.MaxInputs ? SortingNetwork.Get(n, trim) : null,
                Ranks = ranks,
                Values = (double*)(ranks + 4 * KeyBytes),
            };
            bool isOneType = true;
            foreach (TensorPanel input in inputs)
                isOneType &= input.DType.BitSize == 8 * E.Size && input.DType == inputs[0].DType;
            long nonFinite = 0;
            int start = 0;
            if (isOneType && n <= MaxSmallSort)
            {
                for (int k = 0; k < n; k++)
                    middle.Rows[k] = (byte*)inputs[k].Data;
                for (nint offset = 0; start <= length - elements; start += elements, offset += KeyBytes)
                    nonFinite += WriteBlock<L, E, K, V>(inputs, middle, offset, start, elements, output);
            }

            while (start < length)
            {
                int count = Math.Min(blocks * elements, length - start);
                for (int k = 0; k < n; k++)
                {
                    middle.Rows[k] = tile + k * KeyBytes;
                    CopyToBlocks<L, E>(inputs[k], start, count, middle.Rows[k], blockBytes);
                }

                for (nint offset = 0; count > 0; offset += blockBytes)
                {
                    int some = Math.Min(elements, count);
                    nonFinite += WriteBlock<L, E, K, V>(inputs, middle, offset, start, some, output);
                    (start, count) = (start + some, count - some);
                }
            }

            return nonFinite;
        }
        finally
        {
            NativeMemory.AlignedFree(tile);
        }
    }

    /// <summary>What is common to all blocks.</summary>
    private struct Middle
    {
        public int Trim;

        /// <summary>The addresses of the inputs' elements, as type E.</summary>
        public byte** Rows;

        /// <summary>Room for a block of keys.</summary>
        public byte* Keys;

        /// <summary>The network, if one is used.</summary>
        public byte[]? Steps;

        /// <summary>Room for the keys of ranks 0, trim, N - 1 - trim and N - 1.</summary>
        public byte* Ranks;

        /// <summary>Room for a row of float64.</summary>
        public double* Values;
    }

    /// <summary>Copies an input's elements as type E to its row of each block, with zeros after the last.</summary>
    private static void CopyToBlocks<L, E>(TensorPanel input, int start, int count, byte* row, nint blockBytes)
        where L : unmanaged, ILanes<L>
        where E : struct, IElement
    {
        switch (input.DType)
        {
            case DType.F64: CopyToBlocks<L, F64, E>((byte*)input.Data + (nint)start * sizeof(double), count, row, blockBytes); break;
            case DType.F32: CopyToBlocks<L, F32, E>((byte*)input.Data + (nint)start * sizeof(float), count, row, blockBytes); break;
            case DType.F16: CopyToBlocks<L, F16, E>((byte*)input.Data + (nint)start * sizeof(ushort), count, row, blockBytes); break;
            default: CopyToBlocks<L, BF16, E>((byte*)input.Data + (nint)start * sizeof(ushort), count, row, blockBytes); break;
        }
    }

    [MethodImpl(Kernel)]
    private static void CopyToBlocks<L, X, E>(byte* x, int count, byte* row, nint blockBytes)
        where L : unmanaged, ILanes<L>
        where X : struct, IElement
        where E : struct, IElement
    {
        int elements = KeyBytes / E.Size;
        for (; count >= elements; count -= elements, x += elements * X.Size, row += blockBytes)
        {
            for (int line = 0; line < elements * X.Size; line += 64)
                PrefetchLine(x + line + X.PrefetchDistance);
            if (typeof(X) == typeof(E))
            {
                Unsafe.CopyBlockUnaligned(row, x, KeyBytes);
                continue;
            }

            for (int i = 0; i < elements; i += Lanes)
                E.StoreFinite(X.Load<L>(x + i * X.Size), row + i * E.Size);
        }

        if (count == 0)
            return;
        for (int i = 0; i < elements; i += Lanes)
        {
            int some = Math.Clamp(count - i, 0, Lanes);
            E.StoreFinite(Partial<L>.Load<X>(x + i * X.Size, some), row + i * E.Size);
        }
    }

    /// <summary>Writes one block's results; returns how many have an input or output that is not finite.</summary>
    private static long WriteBlock<L, E, K, V>(
        ReadOnlySpan<TensorPanel> inputs, in Middle middle, nint offset, int start, int count, TensorPanel output)
        where L : unmanaged, ILanes<L>
        where E : struct, IElement
        where K : struct, IKeyVector<V>
        where V : unmanaged
    {
        int n = inputs.Length, trim = middle.Trim, kept = n - 2 * trim;
        byte* keys = middle.Keys, least = keys, lo = keys + trim * KeyBytes, hi = keys + (n - 1 - trim) * KeyBytes;
        byte* largest = keys + (n - 1) * KeyBytes;
        if (n <= MaxSmallSort)
        {
            SortSmall<E, K, V>(middle.Rows, offset, n, keys);
        }
        else
        {
            LoadKeys<K, V>(middle.Rows, offset, n, keys);
            if (middle.Steps is { } steps)
            {
                Sort<K, V>(keys, steps);
            }
            else
            {
                SelectRanks<K, V>(keys, n, trim, middle.Ranks);
                least = middle.Ranks;
                lo = least + KeyBytes;
                hi = lo + KeyBytes;
                largest = hi + KeyBytes;
            }
        }

        if (!AreKeysFinite<E, K, V>(least, largest))
            return MiddleValues.Write(inputs, trim, start, count, output);
        bool isDirect = output.DType.BitSize == 8 * E.Size && output.DType == inputs[0].DType && count == KeyBytes / E.Size;
        byte* target = (byte*)output.Data + (nint)start * E.Size;
        if (kept == 1)
        {
            ConvertRow<K, V>(lo, isDirect ? target : lo);
            if (isDirect)
                return 0;
            AverageTwo<L, E, F64>(lo, lo, (byte*)middle.Values);
        }
        else if (kept == 2)
        {
            ConvertRow<K, V>(lo, lo);
            ConvertRow<K, V>(hi, hi);
            if (isDirect && typeof(E) != typeof(F64))
            {
                AverageTwo<L, E, E>(lo, hi, target);
                return 0;
            }

            AverageTwo<L, E, F64>(lo, hi, (byte*)middle.Values);
        }
        else
        {
            AverageBetween<L, E, K, V>(middle, offset, n, lo, hi);
        }

        // float64 may overflow on the way
        if (typeof(E) == typeof(F64) && CountNonFinite<L, F64>((byte*)middle.Values, count) > 0)
            return MiddleValues.Write(inputs, trim, start, count, output);
        return RoundTile<L>(middle.Values, 1, output, start, count);
    }
}
