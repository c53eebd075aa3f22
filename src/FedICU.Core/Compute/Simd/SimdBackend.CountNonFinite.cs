using System.Runtime.CompilerServices;
using FedICU.Compute.Simd;

namespace FedICU.Compute;

// CountNonFinite.
public sealed unsafe partial class SimdBackend
{
    /// <inheritdoc/>
    public long CountNonFinite(TensorPanel input, int length) => Width switch
    {
        512 => CountNonFinite<Lanes512>(input, length),
        256 => CountNonFinite<Lanes256>(input, length),
        _ => CountNonFinite<Lanes128>(input, length),
    };

    private static long CountNonFinite<L>(TensorPanel input, int length)
        where L : unmanaged, ILanes<L> => input.DType switch
        {
            DType.F64 => CountNonFinite<L, F64>((byte*)input.Data, length),
            DType.F32 => CountNonFinite<L, F32>((byte*)input.Data, length),
            DType.F16 => CountNonFinite<L, F16>((byte*)input.Data, length),
            DType.BF16 => CountNonFinite<L, BF16>((byte*)input.Data, length),
            _ => throw Rounding.NotComputed(input.DType),
        };

    [MethodImpl(Kernel)]
    private static long CountNonFinite<L, E>(byte* input, int length)
        where L : unmanaged, ILanes<L>
        where E : struct, IElement
    {
        L infinity = L.Broadcast(double.PositiveInfinity);
        long finite = 0;
        nint i = 0;
        for (; i <= length - Lanes; i += Lanes)
            finite += uint.PopCount(L.LessThanBits(L.Abs(E.Load<L>(input + i * E.Size)), infinity));
        int rest = length - (int)i;
        if (rest > 0)
            finite += uint.PopCount(L.LessThanBits(L.Abs(Partial<L>.Load<E>(input + i * E.Size, rest)), infinity)) - (Lanes - rest);
        return length - finite;
    }
}
