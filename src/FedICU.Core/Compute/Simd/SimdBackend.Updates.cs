using System.Runtime.CompilerServices;
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

    /// <summary>Computes sums[i] = fma(x[i] - origin[i], factor, sums[i]) where a mask's bits are set.</summary>
    /// <param name="input">The values x.</param>
    /// <param name="origin">What is subtracted, with zeros up to a multiple of eight; null: nothing.</param>
    /// <param name="masks">All bits or none for each value, up to a multiple of eight; null: all.</param>
    /// <param name="factor">The factor.</param>
    /// <param name="length">The number of values.</param>
    /// <param name="sums">The sums, up to a multiple of eight.</param>
    /// <returns>Whether all values, masked or not, are finite.</returns>
    internal bool AddMasked(TensorPanel input, double* origin, double* masks, double factor, int length, double* sums) => Width switch
    {
        512 => AddMasked<Lanes512>(input, origin, masks, factor, length, sums),
        256 => AddMasked<Lanes256>(input, origin, masks, factor, length, sums),
        _ => AddMasked<Lanes128>(input, origin, masks, factor, length, sums),
    };

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

    private static bool AddMasked<L>(TensorPanel input, double* origin, double* masks, double factor, int length, double* sums)
        where L : unmanaged, ILanes<L> => input.DType switch
        {
            DType.F64 => AddMasked<L, F64>((byte*)input.Data, origin, masks, factor, length, sums),
            DType.F32 => AddMasked<L, F32>((byte*)input.Data, origin, masks, factor, length, sums),
            DType.F16 => AddMasked<L, F16>((byte*)input.Data, origin, masks, factor, length, sums),
            DType.BF16 => AddMasked<L, BF16>((byte*)input.Data, origin, masks, factor, length, sums),
            DType other => throw Rounding.NotComputed(other),
        };

    [MethodImpl(Kernel)]
    private static bool AddMasked<L, E>(byte* input, double* origin, double* masks, double factor, int length, double* sums)
        where L : unmanaged, ILanes<L>
        where E : struct, IElement
    {
        L zero = L.Broadcast(0), check = zero, factors = L.Broadcast(factor);
        for (nint i = 0; i < length; i += Lanes)
        {
            L value = i <= length - Lanes
                ? LoadBeforeNextTile<L, E>(input + i * E.Size)
                : Partial<L>.Load<E>(input + i * E.Size, length - (int)i);
            if (origin != null)
                value = L.Subtract(value, L.Load(origin + i));
            check = L.FusedMultiplyAdd(value, zero, check);
            if (masks != null)
                value = L.And(value, L.Load(masks + i));
            L.Store(L.FusedMultiplyAdd(value, factors, L.Load(sums + i)), sums + i);
        }

        return double.IsFinite(L.Sum(check));
    }
}
