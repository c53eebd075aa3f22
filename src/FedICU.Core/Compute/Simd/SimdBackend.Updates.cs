using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using FedICU.Compute.Simd;

namespace FedICU.Compute;

// Widen and AddMasked: the update of one client in float64, for rules that work on blocks.
public sealed unsafe partial class SimdBackend
{
    /// <summary>
    /// The elements that a pass reads of one client before it reads the next client's. Chosen: of ten clients, the
    /// first-level cache holds these elements and the next ones, which are prefetched meanwhile.
    /// </summary>
    internal const int UpdateTile = 512;

    /// <summary>Widens values to float64, less an origin.</summary>
    /// <param name="input">The values.</param>
    /// <param name="origin">What is subtracted, with zeros up to a multiple of eight; null: nothing.</param>
    /// <param name="length">The number of values.</param>
    /// <param name="target">Receives the values, and zeros up to a multiple of eight.</param>
    /// <returns>Whether all results are finite.</returns>
    internal bool WidenUpdate(TensorPanel input, double* origin, int length, double* target) => Width switch
    {
        512 => WidenUpdate<Lanes512>(input, origin, length, target),
        256 => WidenUpdate<Lanes256>(input, origin, length, target),
        _ => WidenUpdate<Lanes128>(input, origin, length, target),
    };

    /// <summary>
    /// Computes sums[i] = fma(x[i] - origin[i], factor, sums[i]) where the random number of an element is below a
    /// limit.
    /// </summary>
    /// <param name="input">The values x.</param>
    /// <param name="origin">What is subtracted, with zeros up to a multiple of eight; null: nothing.</param>
    /// <param name="numbers">The random numbers.</param>
    /// <param name="start">
    /// The index of the first element's number. The upper 32 bits of all elements' indices must be the same.
    /// </param>
    /// <param name="limit">The limit, above 0; from 1 on all elements are added.</param>
    /// <param name="factor">The factor.</param>
    /// <param name="length">The number of values.</param>
    /// <param name="sums">The sums, up to a multiple of thirty-two.</param>
    /// <returns>Whether all values, added or not, are finite.</returns>
    internal bool AddMasked(
        TensorPanel input, double* origin, UniformNumbers numbers, long start, double limit, double factor, int length, double* sums)
    {
        ulong* keys = stackalloc ulong[Philox.KeyCount];
        numbers.Generator.ListKeys(keys);
        var words = new MaskWords
        {
            Keys = keys,
            Shared = numbers.Generator.Share(start, keys),
            Start = (ulong)start,
            Limit = limit < 1 ? UniformNumbers.FindLimit(limit) : 0,
        };
        return Width switch
        {
            512 => AddMasked<Lanes512>(input, origin, words, factor, length, sums),
            256 => AddMasked<Lanes256>(input, origin, words, factor, length, sums),
            _ => AddMasked<Lanes128>(input, origin, words, factor, length, sums),
        };
    }

    /// <summary>Loads eight elements, and prefetches those of the client's next tile.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static L LoadBeforeNextTile<L, E>(byte* source)
        where L : unmanaged, ILanes<L>
        where E : struct, IElement
    {
        if (Sse.IsSupported)
            Sse.Prefetch0(source + UpdateTile * E.Size);
        return E.Load<L>(source);
    }

    private static bool WidenUpdate<L>(TensorPanel input, double* origin, int length, double* target)
        where L : unmanaged, ILanes<L> => input.DType switch
        {
            DType.F64 => WidenUpdate<L, F64>((byte*)input.Data, origin, length, target),
            DType.F32 => WidenUpdate<L, F32>((byte*)input.Data, origin, length, target),
            DType.F16 => WidenUpdate<L, F16>((byte*)input.Data, origin, length, target),
            DType.BF16 => WidenUpdate<L, BF16>((byte*)input.Data, origin, length, target),
            DType other => throw Rounding.NotComputed(other),
        };

    [MethodImpl(Kernel)]
    private static bool WidenUpdate<L, E>(byte* input, double* origin, int length, double* target)
        where L : unmanaged, ILanes<L>
        where E : struct, IElement
    {
        L zero = L.Broadcast(0), check = zero;
        for (nint i = 0; i < length; i += Lanes)
        {
            L value = i <= length - Lanes
                ? LoadBeforeNextTile<L, E>(input + i * E.Size)
                : Partial<L>.Load<E>(input + i * E.Size, length - (int)i);
            if (origin != null)
                value = L.Subtract(value, L.Load(origin + i));
            // 0 times a value that is not finite is NaN
            check = L.FusedMultiplyAdd(value, zero, check);
            L.Store(value, target + i);
        }

        return double.IsFinite(L.Sum(check));
    }

    private static bool AddMasked<L>(TensorPanel input, double* origin, in MaskWords words, double factor, int length, double* sums)
        where L : unmanaged, ILanes<L>
    {
        byte* data = (byte*)input.Data;
        int whole = length / Philox.Quad.Lanes * Philox.Quad.Lanes;
        bool isFinite = input.DType switch
        {
            DType.F64 => AddMasked<L, F64>(data, origin, words, factor, whole, sums),
            DType.F32 => AddMasked<L, F32>(data, origin, words, factor, whole, sums),
            DType.F16 => AddMasked<L, F16>(data, origin, words, factor, whole, sums),
            DType.BF16 => AddMasked<L, BF16>(data, origin, words, factor, whole, sums),
            DType other => throw Rounding.NotComputed(other),
        };
        if (whole == length)
            return isFinite;
        double* rest = stackalloc double[Philox.Quad.Lanes];
        new Span<double>(rest, Philox.Quad.Lanes).Clear();
        WidenToTile<L>(input, whole, length - whole, rest);
        for (int i = 0; whole + i < length && origin != null; i++)
            rest[i] -= origin[whole + i];
        MaskWords last = words with { Start = words.Start + (uint)whole };
        return AddMasked<L, F64>((byte*)rest, null, last, factor, Philox.Quad.Lanes, sums + whole) && isFinite;
    }

    private static bool AddMasked<L, E>(byte* input, double* origin, in MaskWords words, double factor, int length, double* sums)
        where L : unmanaged, ILanes<L>
        where E : struct, IElement => words.Limit == 0
            ? AddMasked<L, E, One>(input, origin, words, factor, length, sums)
            : AddMasked<L, E, Two>(input, origin, words, factor, length, sums);

    /// <summary>
    /// The kernel; with two, numbers decide what is added. They are computed where they are used, so that the CPU
    /// computes numbers while it waits for values.
    /// </summary>
    [MethodImpl(Kernel)]
    private static bool AddMasked<L, E, R>(byte* input, double* origin, in MaskWords words, double factor, int length, double* sums)
        where L : unmanaged, ILanes<L>
        where E : struct, IElement
        where R : struct, ICount
    {
        double* masks = stackalloc double[Philox.Quad.Lanes];
        ulong* keys = words.Keys;
        Philox.SharedWords shared = words.Shared;
        Vector512<ulong> limit = Vector512.Create(words.Limit);
        Philox.Quad product = Philox.BeginFirst(words.Start);
        L zero = L.Broadcast(0), check = zero, factors = L.Broadcast(factor);
        for (nint i = 0; i < length; i += Philox.Quad.Lanes)
        {
            if (R.Value > 1)
                Philox.DrawFirst(ref product, shared, keys).StoreBelow(limit, ref *(ulong*)masks, 0);
            for (nint j = 0; j < Philox.Quad.Lanes; j += Lanes)
            {
                L value = LoadBeforeNextTile<L, E>(input + (i + j) * E.Size);
                if (origin != null)
                    value = L.Subtract(value, L.Load(origin + i + j));
                check = L.FusedMultiplyAdd(value, zero, check);
                if (R.Value > 1)
                    value = L.And(value, L.Load(masks + j));
                L.Store(L.FusedMultiplyAdd(value, factors, L.Load(sums + i + j)), sums + i + j);
            }
        }

        return double.IsFinite(L.Sum(check));
    }

    /// <summary>The random numbers of elements, and the limit of their words; 0: all elements are added.</summary>
    private struct MaskWords
    {
        public ulong* Keys;
        public Philox.SharedWords Shared;
        public ulong Start, Limit;
    }
}
