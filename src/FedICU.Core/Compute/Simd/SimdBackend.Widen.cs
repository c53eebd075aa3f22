using System.Runtime.CompilerServices;
using FedICU.Compute.Simd;

namespace FedICU.Compute;

// Panels of any type as float64, for the kernels that read few inputs or read them often.
public sealed unsafe partial class SimdBackend
{
    /// <summary>
    /// Returns a run of a panel as float64, readable up to a multiple of eight elements: in the tile, filled up with
    /// zeros, or in the panel itself.
    /// </summary>
    private static double* Widen<L>(TensorPanel panel, int start, int count, double* tile)
        where L : unmanaged, ILanes<L>
    {
        if (panel.DType == DType.F64 && count % Lanes == 0)
            return (double*)panel.Data + start;
        WidenToTile<L>(panel, start, count, tile);
        return tile;
    }

    /// <summary>Widens elements to float64 in a tile, and adds zeros up to a multiple of eight.</summary>
    private static void WidenToTile<L>(TensorPanel input, long offset, int count, double* target)
        where L : unmanaged, ILanes<L>
    {
        byte* data = (byte*)input.Data;
        switch (input.DType)
        {
            case DType.F64: Widen<L, F64>(data + offset * sizeof(double), count, target); break;
            case DType.F32: Widen<L, F32>(data + offset * sizeof(float), count, target); break;
            case DType.F16: Widen<L, F16>(data + offset * sizeof(ushort), count, target); break;
            case DType.BF16: Widen<L, BF16>(data + offset * sizeof(ushort), count, target); break;
            default: throw Rounding.NotComputed(input.DType);
        }
    }

    [MethodImpl(Kernel)]
    private static void Widen<L, E>(byte* source, int count, double* tile)
        where L : unmanaged, ILanes<L>
        where E : struct, IElement
    {
        nint i = 0;
        for (; i <= count - Lanes; i += Lanes)
            L.Store(LoadAndPrefetch<L, E>(source + i * E.Size), tile + i);
        if (i < count)
            L.Store(Partial<L>.Load<E>(source + i * E.Size, count - (int)i), tile + i);
    }
}
