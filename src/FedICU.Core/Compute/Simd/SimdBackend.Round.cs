using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using FedICU.Compute.Simd;

namespace FedICU.Compute;

// The one rounding of float64 values to the type of an output.
public sealed unsafe partial class SimdBackend
{
    /// <summary>
    /// Divides float64 values and writes them to a panel, each rounded once; returns how many are not finite.
    /// </summary>
    private static long RoundTile<L>(double* tile, double divisor, TensorPanel output, long offset, int count)
        where L : unmanaged, ILanes<L>
    {
        byte* target = (byte*)output.Data;
        return output.DType switch
        {
            DType.F64 => RoundTile<L, F64>(tile, divisor, target + offset * sizeof(double), count),
            DType.F32 => RoundTile<L, F32>(tile, divisor, target + offset * sizeof(float), count),
            DType.F16 => RoundTile<L, F16>(tile, divisor, target + offset * sizeof(ushort), count),
            DType.BF16 => RoundTile<L, BF16>(tile, divisor, target + offset * sizeof(ushort), count),
            _ => throw Rounding.NotComputed(output.DType),
        };
    }

    [MethodImpl(Kernel)]
    private static long RoundTile<L, E>(double* tile, double divisor, byte* output, int count)
        where L : unmanaged, ILanes<L>
        where E : struct, IElement
    {
        L by = L.Broadcast(divisor);
        bool divide = divisor != 1;
        long nonFinite = 0;
        nint i = 0;
        for (; i <= count - Lanes; i += Lanes)
        {
            L y = L.Load(tile + i);
            if (divide)
                y = L.Divide(y, by);
            if (E.StoreFast(y, output + i * E.Size) != Vector256<uint>.Zero)
                nonFinite += RoundAny<L, E>(tile + i, divisor, output + i * E.Size, Lanes);
        }

        return i < count ? nonFinite + RoundAny<L, E>(tile + i, divisor, output + i * E.Size, count - (int)i) : nonFinite;
    }

    /// <summary>Does the same for a few elements of any value. The tile has room up to a multiple of eight.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static long RoundAny<L, E>(double* tile, double divisor, byte* output, int count)
        where L : unmanaged, ILanes<L>
        where E : struct, IElement
    {
        long nonFinite = count;
        for (int i = 0; i < count; i += Lanes)
        {
            int some = Math.Min(Lanes, count - i);
            L y = L.Load(tile + i);
            if (divisor != 1)
                y = L.Divide(y, L.Broadcast(divisor));
            uint finite = L.LessThanBits(L.Abs(y), L.Broadcast(E.Limit)) & (1u << some) - 1;
            nonFinite -= uint.PopCount(finite);
            // the usual case: a mean of equal weights is halfway between two values, which StoreFast does not serve
            if (finite == 0xFF)
                E.StoreFinite(y, output + i * E.Size);
            else
                Partial<L>.Store<E>(y, output + i * E.Size, some);
        }

        return nonFinite;
    }
}
