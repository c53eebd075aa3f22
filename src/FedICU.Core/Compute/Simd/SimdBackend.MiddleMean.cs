using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using FedICU.Compute.Reference;
using FedICU.Compute.Simd;

namespace FedICU.Compute;

// MiddleMean: a tile of all inputs is brought into a cache as sort keys. There, two ranks are found for each element,
// by a sorting network or, of many inputs, by counting. Then the values between them are summed.
public sealed unsafe partial class SimdBackend
{
    /// <summary>Bytes of a block: the part of a row of keys that is sorted at once.</summary>
    private const int KeyBytes = 128;

    /// <summary>Bytes of a tile of keys. Chosen: stays in the L1 cache.</summary>
    private const int KeyTileBytes = 32 << 10;

    /// <summary>
    /// The fewest blocks of a tile. Chosen: runs of less than a few cache lines of each input are slow to read.
    /// </summary>
    private const int MinKeyBlocks = 4;

    /// <inheritdoc/>
    public long MiddleMean(ReadOnlySpan<TensorPanel> inputs, int trim, int length, TensorPanel output)
    {
        ScalarMath.CheckTrim(inputs.Length, trim);
        return (_width, GetKeyType(inputs)) switch
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
    /// Returns the narrowest type that holds all inputs exactly. Keys of 16 bits also count inputs: more than they can
    /// count are compared as float32.
    /// </summary>
    private static DType GetKeyType(ReadOnlySpan<TensorPanel> inputs)
    {
        DType common = inputs[0].DType;
        foreach (TensorPanel input in inputs)
        {
            if (input.DType is not (DType.F64 or DType.F32 or DType.F16 or DType.BF16))
                throw Rounding.NotComputed(input.DType);
            if (input.DType != common)
                common = common == DType.F64 || input.DType == DType.F64 ? DType.F64 : DType.F32;
        }

        return inputs.Length > short.MaxValue && common != DType.F64 ? DType.F32 : common;
    }

    private static long MiddleMean<L, E, K, V>(ReadOnlySpan<TensorPanel> inputs, int trim, int length, TensorPanel output)
        where L : unmanaged, ILanes<L>
        where E : struct, IElement
        where K : struct, IKeyVector<V>
        where V : unmanaged
    {
        int n = inputs.Length, elements = KeyBytes / E.Size;
        int blocks = Math.Max(KeyTileBytes / (n * KeyBytes), MinKeyBlocks);
        nint blockBytes = (nint)n * KeyBytes;
        // the keys, four rows of ranks, and float64 values of two blocks
        byte* tile = (byte*)NativeMemory.AlignedAlloc((nuint)(blocks * blockBytes + 4 * KeyBytes + 2 * elements * sizeof(double)), Slack);
        try
        {
            byte* ranks = tile + blocks * blockBytes;
            byte[]? steps = n <= SortingNetwork.MaxInputs ? SortingNetwork.Get(n, trim) : null;
            var middle = new Middle
            {
                Trim = trim,
                Values = (double*)(ranks + 4 * KeyBytes),
                Least = ranks,
                Lo = ranks + KeyBytes,
                Hi = ranks + 2 * KeyBytes,
                Largest = ranks + 3 * KeyBytes,
            };
            long nonFinite = 0;
            for (int start = 0; start < length; start += blocks * elements)
            {
                int count = Math.Min(blocks * elements, length - start);
                for (int k = 0; k < n; k++)
                    LoadKeys<L, E, K, V>(inputs[k], start, count, tile + k * KeyBytes, blockBytes);
                byte* block = tile;
                for (int i = 0; i < count; i += elements, block += blockBytes)
                {
                    if (steps is null)
                    {
                        SelectRanks<K, V>(block, n, middle);
                    }
                    else
                    {
                        Sort<K, V>(block, steps);
                        middle.Least = block;
                        middle.Lo = block + trim * KeyBytes;
                        middle.Hi = block + (n - 1 - trim) * KeyBytes;
                        middle.Largest = block + (n - 1) * KeyBytes;
                    }

                    nonFinite += WriteMiddle<L, E, K, V>(inputs, middle, start + i, Math.Min(elements, count - i), output);
                }
            }

            return nonFinite;
        }
        finally
        {
            NativeMemory.AlignedFree(tile);
        }
    }

    /// <summary>The ranks that were found for a block, and what is made of them.</summary>
    private struct Middle
    {
        public int Trim;

        /// <summary>Keys of ranks 0, trim, N - 1 - trim and N - 1.</summary>
        public byte* Least, Lo, Hi, Largest;

        /// <summary>Room for two blocks of float64.</summary>
        public double* Values;
    }

    /// <summary>Writes an input's elements as keys of type E to its row of each block, with zeros after the last.</summary>
    private static void LoadKeys<L, E, K, V>(TensorPanel input, int start, int count, byte* row, nint blockBytes)
        where L : unmanaged, ILanes<L>
        where E : struct, IElement
        where K : struct, IKeyVector<V>
        where V : unmanaged
    {
        int size = input.DType.BitSize / 8, elements = KeyBytes / E.Size, whole = count / elements, rest = count % elements;
        byte* x = (byte*)input.Data + (nint)start * size;
        LoadWhole(input.DType, x, whole, row);
        if (rest == 0)
            return;
        // the largest type's block
        byte* padded = stackalloc byte[KeyBytes / sizeof(ushort) * sizeof(double)];
        new Span<byte>(padded, elements * size).Clear();
        Unsafe.CopyBlockUnaligned(padded, x + (nint)whole * elements * size, (uint)(rest * size));
        LoadWhole(input.DType, padded, 1, row + whole * blockBytes);

        void LoadWhole(DType dtype, byte* from, int blocks, byte* to)
        {
            switch (dtype)
            {
                case DType.F64: LoadKeys<L, F64, E, K, V>(from, blocks, to, blockBytes); break;
                case DType.F32: LoadKeys<L, F32, E, K, V>(from, blocks, to, blockBytes); break;
                case DType.F16: LoadKeys<L, F16, E, K, V>(from, blocks, to, blockBytes); break;
                default: LoadKeys<L, BF16, E, K, V>(from, blocks, to, blockBytes); break;
            }
        }
    }

    /// <summary>Loads elements of type X as keys of type E.</summary>
    [MethodImpl(Kernel)]
    private static void LoadKeys<L, X, E, K, V>(byte* x, int blocks, byte* row, nint blockBytes)
        where L : unmanaged, ILanes<L>
        where X : struct, IElement
        where E : struct, IElement
        where K : struct, IKeyVector<V>
        where V : unmanaged
    {
        int elements = KeyBytes / E.Size;
        for (int block = 0; block < blocks; block++, x += elements * X.Size, row += blockBytes)
        {
            byte* from = x;
            for (int line = 0; line < elements * X.Size; line += 64)
                PrefetchLine(x + line + X.PrefetchDistance);
            if (typeof(X) != typeof(E))
            {
                for (int i = 0; i < elements; i += Lanes)
                    E.StoreFinite(X.Load<L>(x + i * X.Size), row + i * E.Size);
                from = row;
            }

            for (int at = 0; at < KeyBytes; at += 2 * K.Bytes)
            {
                V first = K.Convert(K.Load(from + at)), second = K.Convert(K.Load(from + at + K.Bytes));
                K.Store(first, row + at);
                K.Store(second, row + at + K.Bytes);
            }
        }
    }

    /// <summary>Writes one block's results; returns how many have an input or output that is not finite.</summary>
    private static long WriteMiddle<L, E, K, V>(ReadOnlySpan<TensorPanel> inputs, in Middle middle, int start, int count, TensorPanel output)
        where L : unmanaged, ILanes<L>
        where E : struct, IElement
        where K : struct, IKeyVector<V>
        where V : unmanaged
    {
        if (!AreKeysFinite<E, K, V>(middle.Least, middle.Largest))
            return MiddleValues.Write(inputs, middle.Trim, start, count, output);
        ConvertRow<K, V>(middle.Lo);
        int kept = inputs.Length - 2 * middle.Trim, size = output.DType.BitSize / 8;
        if (kept == 1 && size == E.Size && output.DType == inputs[0].DType)
        {
            Unsafe.CopyBlockUnaligned((byte*)output.Data + (nint)start * size, middle.Lo, (uint)(count * size));
            return 0;
        }

        if (kept > 1)
            ConvertRow<K, V>(middle.Hi);
        if (kept <= 2)
            AverageTwo<L, E>(middle.Lo, kept == 1 ? middle.Lo : middle.Hi, middle.Values);
        else
            AverageBetween<L, E>(inputs, middle, start, count);
        // float64 may overflow on the way
        if (typeof(E) == typeof(F64) && CountNonFinite<L, F64>((byte*)middle.Values, count) > 0)
            return MiddleValues.Write(inputs, middle.Trim, start, count, output);
        return RoundTile<L>(middle.Values, 1, output, start, count);
    }

    /// <summary>Computes (lo + hi) / 2 in float64, for a whole block.</summary>
    [MethodImpl(Kernel)]
    private static void AverageTwo<L, E>(byte* lo, byte* hi, double* means)
        where L : unmanaged, ILanes<L>
        where E : struct, IElement
    {
        L half = L.Broadcast(0.5);
        for (int i = 0; i < KeyBytes / E.Size; i += Lanes)
            L.Store(L.Multiply(L.Add(E.Load<L>(lo + i * E.Size), E.Load<L>(hi + i * E.Size)), half), means + i);
    }

    /// <summary>Computes the means of all values from lo to hi in float64.</summary>
    /// <remarks>
    /// Zeros of both signs are equal here. So the counts may include zeros of the other sign, whose product is a zero
    /// that changes no sum; the order of the bits matters only where lo and hi are both zeros.
    /// </remarks>
    private static void AverageBetween<L, E>(ReadOnlySpan<TensorPanel> inputs, in Middle middle, int start, int count)
        where L : unmanaged, ILanes<L>
        where E : struct, IElement
    {
        L ranks = L.Broadcast(inputs.Length - middle.Trim), one = L.Broadcast(1), kept = L.Broadcast(inputs.Length - 2 * middle.Trim);
        for (int i = 0; i < count; i += Lanes)
        {
            L lo = E.Load<L>(middle.Lo + i * E.Size), hi = E.Load<L>(middle.Hi + i * E.Size);
            var sums = new SumsBetween<L> { Sum = L.Broadcast(0), Above = L.Broadcast(0), Below = L.Broadcast(0) };
            for (int k = 0, same; k < inputs.Length; k += same)
            {
                same = CountSameType(inputs, k);
                ReadOnlySpan<TensorPanel> some = inputs.Slice(k, same);
                int rest = Math.Min(Lanes, count - i);
                switch (inputs[k].DType)
                {
                    case DType.F64: AddBetween<L, F64>(some, start + i, rest, lo, hi, ref sums); break;
                    case DType.F32: AddBetween<L, F32>(some, start + i, rest, lo, hi, ref sums); break;
                    case DType.F16: AddBetween<L, F16>(some, start + i, rest, lo, hi, ref sums); break;
                    default: AddBetween<L, BF16>(some, start + i, rest, lo, hi, ref sums); break;
                }
            }

            L sum = L.FusedMultiplyAdd(L.Subtract(ranks, sums.Above), lo, sums.Sum);
            sum = L.FusedMultiplyAdd(L.Subtract(ranks, sums.Below), hi, sum);
            // equal values are not averaged; of zeros of different signs, the result is +0
            L differ = L.LessThan(lo, hi), equal = L.LessThan(L.And(differ, one), one);
            L.Store(L.Or(L.And(L.Divide(sum, kept), differ), L.And(L.And(lo, hi), equal)), middle.Values + i);
        }
    }

    /// <summary>
    /// For eight elements: the sum of the values between lo and hi, and how many values are above lo, and below hi.
    /// </summary>
    private struct SumsBetween<L>
    {
        public L Sum, Above, Below;
    }

    [MethodImpl(Kernel)]
    private static void AddBetween<L, E>(ReadOnlySpan<TensorPanel> inputs, long offset, int count, L lo, L hi, ref SumsBetween<L> sums)
        where L : unmanaged, ILanes<L>
        where E : struct, IElement
    {
        L sum = sums.Sum, above = sums.Above, below = sums.Below, one = L.Broadcast(1);
        foreach (TensorPanel input in inputs)
        {
            byte* data = (byte*)input.Data + offset * E.Size;
            L x = count == Lanes ? E.Load<L>(data) : Partial<L>.Load<E>(data, count);
            L isAbove = L.LessThan(lo, x), isBelow = L.LessThan(x, hi);
            sum = L.Add(sum, L.And(x, L.And(isAbove, isBelow)));
            above = L.Add(above, L.And(one, isAbove));
            below = L.Add(below, L.And(one, isBelow));
        }

        (sums.Sum, sums.Above, sums.Below) = (sum, above, below);
    }
}
