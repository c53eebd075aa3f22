using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using FedICU.Compute.Simd;

namespace FedICU.Compute;

// Apply: the server's adaptive steps, in one pass over the model and its moments.
public sealed unsafe partial class SimdBackend
{
    /// <summary>Applies an adaptive step; returns how many outputs and moments are not finite.</summary>
    internal long Apply(in AdaptiveStep step, in AdaptivePanels panels, int length) => Width switch
    {
        512 => Apply<Lanes512>(step, panels, length),
        256 => Apply<Lanes256>(step, panels, length),
        _ => Apply<Lanes128>(step, panels, length),
    };

    private static long Apply<L>(in AdaptiveStep step, in AdaptivePanels panels, int length)
        where L : unmanaged, ILanes<L> => (panels.Output.DType, panels.M.DType) switch
        {
            (DType.F64, DType.F64) => Apply<L, F64, F64>(step, panels, length),
            (DType.F32, DType.F32) => Apply<L, F32, F32>(step, panels, length),
            (DType.F16, DType.F32) => Apply<L, F16, F32>(step, panels, length),
            (DType.BF16, DType.F32) => Apply<L, BF16, F32>(step, panels, length),
            _ => throw Rounding.NotComputed(panels.M.DType),
        };

    [MethodImpl(Kernel)]
    private static long Apply<L, E, S>(in AdaptiveStep step, in AdaptivePanels panels, int length)
        where L : unmanaged, ILanes<L>
        where E : struct, IElement
        where S : struct, IElement
    {
        var factors = new AdaptiveFactors<L>(step);
        byte* merged = (byte*)panels.Merged.Data, global = (byte*)panels.Global.Data, output = (byte*)panels.Output.Data;
        byte* m = (byte*)panels.M.Data, v = (byte*)panels.V.Data, nextM = (byte*)panels.NextM.Data, nextV = (byte*)panels.NextV.Data;
        long nonFinite = 0;
        nint i = 0;
        for (; i <= length - Lanes; i += Lanes)
        {
            L x = global == null ? L.Broadcast(0) : LoadAndPrefetch<L, E>(global + i * E.Size);
            L d = F64.Load<L>(merged + i * sizeof(double));
            if (global != null)
                d = L.Subtract(d, x);
            L first = LoadAndPrefetch<L, S>(m + i * S.Size), second = LoadAndPrefetch<L, S>(v + i * S.Size);
            L u = factors.Advance(d, ref first, ref second);
            if (global != null)
                u = L.Add(x, u);
            Vector256<uint> unserved = E.StoreFast(u, output + i * E.Size) | S.StoreFast(first, nextM + i * S.Size)
                | S.StoreFast(second, nextV + i * S.Size);
            if (unserved != Vector256<uint>.Zero)
            {
                nonFinite += StoreAny<L, E>(u, output + i * E.Size, Lanes) + StoreAny<L, S>(first, nextM + i * S.Size, Lanes)
                    + StoreAny<L, S>(second, nextV + i * S.Size, Lanes);
            }
        }

        if (i < length)
        {
            int rest = length - (int)i;
            L x = global == null ? L.Broadcast(0) : Partial<L>.Load<E>(global + i * E.Size, rest);
            L d = Partial<L>.Load<F64>(merged + i * sizeof(double), rest);
            if (global != null)
                d = L.Subtract(d, x);
            L first = Partial<L>.Load<S>(m + i * S.Size, rest), second = Partial<L>.Load<S>(v + i * S.Size, rest);
            L u = factors.Advance(d, ref first, ref second);
            if (global != null)
                u = L.Add(x, u);
            nonFinite += StoreAny<L, E>(u, output + i * E.Size, rest) + StoreAny<L, S>(first, nextM + i * S.Size, rest)
                + StoreAny<L, S>(second, nextV + i * S.Size, rest);
        }

        return nonFinite;
    }

    /// <summary>Rounds and stores up to eight values of any size; returns how many results are not finite.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static long StoreAny<L, E>(L value, byte* target, int count)
        where L : unmanaged, ILanes<L>
        where E : struct, IElement
    {
        double* values = stackalloc double[Lanes];
        L.Store(value, values);
        return RoundAny<L, E>(values, 1, target, count);
    }

    /// <summary>The numbers of an <see cref="AdaptiveStep"/> in registers, and the step itself.</summary>
    private readonly struct AdaptiveFactors<L>(AdaptiveStep step)
        where L : unmanaged, ILanes<L>
    {
        private readonly SecondMomentRule _rule = step.Second;
        private readonly L _beta1 = L.Broadcast(step.Beta1);
        private readonly L _rest1 = L.Broadcast(1 - step.Beta1);
        private readonly L _beta2 = L.Broadcast(step.Beta2);
        private readonly L _rest2 = L.Broadcast(1 - step.Beta2);
        private readonly L _rate = L.Broadcast(step.Rate);
        private readonly L _scale = L.Broadcast(step.Scale);
        private readonly L _tau = L.Broadcast(step.Tau);

        /// <summary>Computes the next moments and the server's update.</summary>
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public L Advance(L d, ref L m, ref L v)
        {
            m = L.FusedMultiplyAdd(d, _rest1, L.Multiply(m, _beta1));
            L square = L.Multiply(d, d);
            if (_rule == SecondMomentRule.Adam)
                v = L.FusedMultiplyAdd(square, _rest2, L.Multiply(v, _beta2));
            else if (_rule == SecondMomentRule.Yogi)
                v = TowardsSquare(v, square);
            else
                v = L.Add(v, square);
            return L.Multiply(L.Divide(m, L.Add(L.Sqrt(L.Multiply(v, _scale)), _tau)), _rate);
        }

        /// <summary>Computes fma(-(1 - beta2) D^2, sign(v - D^2), v).</summary>
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        private L TowardsSquare(L v, L square)
        {
            L change = L.Multiply(_rest2, square);
            L less = L.And(L.LessThan(v, square), change), more = L.And(L.LessThan(square, v), change);
            return L.Subtract(L.Add(v, less), more);
        }
    }
}
