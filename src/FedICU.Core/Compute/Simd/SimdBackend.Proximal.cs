using System.Runtime.CompilerServices;
using FedICU.Compute.Simd;

namespace FedICU.Compute;

// AddProximal.
public sealed unsafe partial class SimdBackend
{
    /// <inheritdoc/>
    public double AddProximal(TensorPanel local, TensorPanel global, double mu, int length, TensorPanel gradient) => Width switch
    {
        512 => AddProximal<Lanes512>(local, global, mu, length, gradient),
        256 => AddProximal<Lanes256>(local, global, mu, length, gradient),
        _ => AddProximal<Lanes128>(local, global, mu, length, gradient),
    };

    [SkipLocalsInit]
    private static double AddProximal<L>(TensorPanel local, TensorPanel global, double mu, int length, TensorPanel gradient)
        where L : unmanaged, ILanes<L>
    {
        byte* storage = stackalloc byte[3 * ShortTileBytes + Slack];
        double* first = Align(storage), second = first + ShortTile, third = second + ShortTile;
        L lanes = L.Broadcast(0);
        for (int start = 0; start < length; start += ShortTile)
        {
            int count = Math.Min(ShortTile, length - start);
            double* w = Widen<L>(local, start, count, first), x = Widen<L>(global, start, count, second);
            ComputeUpdate<L>(w, x, null, 1, 0, count, first);
            lanes = AddTileSquares(lanes, first, count);
            if (gradient.Data == null)
                continue;
            double* g = Widen<L>(gradient, start, count, third);
            AddScaled<L>(mu, first, g, count, third);
            RoundTile<L>(third, 1, gradient, start, count);
        }

        return L.Sum(lanes);
    }

    /// <summary>Computes target = fma(scale, x, y).</summary>
    [MethodImpl(Kernel)]
    private static void AddScaled<L>(double scale, double* x, double* y, int count, double* target)
        where L : unmanaged, ILanes<L>
    {
        L by = L.Broadcast(scale);
        for (nint i = 0; i < count; i += Lanes)
            L.Store(L.FusedMultiplyAdd(by, L.Load(x + i), L.Load(y + i)), target + i);
    }
}
