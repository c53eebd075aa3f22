using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace FedICU.Compute.Simd;

// The inner products where there are sixteen registers of 256 bits: eight lanes are two of them, and the sums of five inputs against five would be fifty.
// Three against three or four, four lanes at a time, are nine or twelve, and the tile holds float64, as widening at each product would take longer than the product.
internal sealed unsafe partial class SimdVerbs<L>
{
    private const int FewLanes = 4, FewInputs = 3;

    private static bool FewRegisters => typeof(L) == typeof(Lanes256);

    private static void AddTileByFour(byte** places, nint step, int steps, int vectors, GroupValues sums, ReadOnlySpan<TensorPanel> panels, Ahead ahead)
    {
        int inputs = panels.Length;
        for (int k = 0, rows; k < inputs; k += rows)
        {
            // one input alone would wait for its own sums
            rows = inputs - k == FewInputs + 1 ? inputs - k : Math.Min(FewInputs, inputs - k);
            byte** y = places + k;
            for (int j = 0; j <= k; j += FewInputs)
            {
                byte** x = j < k ? places + j : null;
                double* first = sums.Row(GramPairs.Index(j, k));
                switch (rows)
                {
                    case 1: FewPairs<One>(x, y, vectors, step, steps, first, k, (nint)sums.Stride, panels, ref ahead); break;
                    case 2: FewPairs<Two>(x, y, vectors, step, steps, first, k, (nint)sums.Stride, panels, ref ahead); break;
                    case 3: FewPairs<Three>(x, y, vectors, step, steps, first, k, (nint)sums.Stride, panels, ref ahead); break;
                    default: FewPairs<Four>(x, y, vectors, step, steps, first, k, (nint)sums.Stride, panels, ref ahead); break;
                }
            }
        }
    }

    private static void FewPairs<Y>(byte** x, byte** y, int vectors, nint step, int steps, double* sums, int k, nint stride, ReadOnlySpan<TensorPanel> panels, ref Ahead ahead) where Y : struct, ICount
    {
        if (x != null)
            FewBlock<Y>(x, y, vectors, step, steps, sums, k, stride, panels, ref ahead);
        else
            FewTriangle<Y>(y, vectors, step, steps, sums, k, stride, panels, ref ahead);
    }

    /// <summary>The pairs of three inputs x and up to four inputs y, k being the number of the first y.</summary>
    [MethodImpl(Kernel)]
    private static void FewBlock<Y>(byte** x, byte** y, int vectors, nint step, int steps, double* sums, int k, nint stride, ReadOnlySpan<TensorPanel> panels, ref Ahead ahead) where Y : struct, ICount
    {
        byte* x0 = x[0], x1 = x[1], x2 = x[2];
        byte* y0 = y[0], y1 = Y.Value > 1 ? y[1] : null, y2 = Y.Value > 2 ? y[2] : null, y3 = Y.Value > 3 ? y[3] : null;
        // the pairs of a further y come k + 1, k + 2, ... places later
        nint one = (k + 1) * stride, two = (2 * k + 3) * stride, three = (3 * k + 6) * stride, first = 0;
        for (int v = 0; v < vectors * Lanes; v += FewLanes, first += FewLanes * sizeof(double), sums += FewLanes)
        {
            // before the sums are in registers, which a call would not keep
            byte* line = ahead.Next(panels, *x, out nint lineStep);
            double* t1 = sums + one, t2 = sums + two, t3 = sums + three;
            Vector256<double> s00 = Vector256.Load(sums), s01 = Vector256.Load(sums + stride), s02 = Vector256.Load(sums + 2 * stride);
            Vector256<double> s10 = default, s11 = default, s12 = default, s20 = default, s21 = default, s22 = default, s30 = default, s31 = default, s32 = default;
            if (Y.Value > 1)
                (s10, s11, s12) = (Vector256.Load(t1), Vector256.Load(t1 + stride), Vector256.Load(t1 + 2 * stride));
            if (Y.Value > 2)
                (s20, s21, s22) = (Vector256.Load(t2), Vector256.Load(t2 + stride), Vector256.Load(t2 + 2 * stride));
            if (Y.Value > 3)
                (s30, s31, s32) = (Vector256.Load(t3), Vector256.Load(t3 + stride), Vector256.Load(t3 + 2 * stride));
            nint offset = first;
            for (int i = 0; i < steps; i++, offset += step, line += lineStep)
            {
                Ask(line);
                Vector256<double> a = LoadFour(x0 + offset), b = LoadFour(x1 + offset), c = LoadFour(x2 + offset), z = LoadFour(y0 + offset);
                s00 = Vector256.FusedMultiplyAdd(a, z, s00);
                s01 = Vector256.FusedMultiplyAdd(b, z, s01);
                s02 = Vector256.FusedMultiplyAdd(c, z, s02);
                if (Y.Value > 1)
                {
                    z = LoadFour(y1 + offset);
                    s10 = Vector256.FusedMultiplyAdd(a, z, s10);
                    s11 = Vector256.FusedMultiplyAdd(b, z, s11);
                    s12 = Vector256.FusedMultiplyAdd(c, z, s12);
                }

                if (Y.Value > 2)
                {
                    z = LoadFour(y2 + offset);
                    s20 = Vector256.FusedMultiplyAdd(a, z, s20);
                    s21 = Vector256.FusedMultiplyAdd(b, z, s21);
                    s22 = Vector256.FusedMultiplyAdd(c, z, s22);
                }

                if (Y.Value > 3)
                {
                    z = LoadFour(y3 + offset);
                    s30 = Vector256.FusedMultiplyAdd(a, z, s30);
                    s31 = Vector256.FusedMultiplyAdd(b, z, s31);
                    s32 = Vector256.FusedMultiplyAdd(c, z, s32);
                }
            }

            StoreThree(s00, s01, s02, sums, stride);
            if (Y.Value > 1)
                StoreThree(s10, s11, s12, t1, stride);
            if (Y.Value > 2)
                StoreThree(s20, s21, s22, t2, stride);
            if (Y.Value > 3)
                StoreThree(s30, s31, s32, t3, stride);
        }
    }

    /// <summary>The pairs within one block of up to four inputs.</summary>
    [MethodImpl(Kernel)]
    private static void FewTriangle<Y>(byte** x, int vectors, nint step, int steps, double* sums, int k, nint stride, ReadOnlySpan<TensorPanel> panels, ref Ahead ahead) where Y : struct, ICount
    {
        byte* x0 = x[0], x1 = Y.Value > 1 ? x[1] : null, x2 = Y.Value > 2 ? x[2] : null, x3 = Y.Value > 3 ? x[3] : null;
        nint one = (k + 1) * stride, two = (2 * k + 3) * stride, three = (3 * k + 6) * stride, first = 0;
        for (int v = 0; v < vectors * Lanes; v += FewLanes, first += FewLanes * sizeof(double), sums += FewLanes)
        {
            // before the sums are in registers, which a call would not keep
            byte* line = ahead.Next(panels, *x, out nint lineStep);
            double* t1 = sums + one, t2 = sums + two, t3 = sums + three;
            Vector256<double> s00 = Vector256.Load(sums), s10 = default, s11 = default, s20 = default, s21 = default, s22 = default, s30 = default, s31 = default, s32 = default, s33 = default;
            if (Y.Value > 1)
                (s10, s11) = (Vector256.Load(t1), Vector256.Load(t1 + stride));
            if (Y.Value > 2)
                (s20, s21, s22) = (Vector256.Load(t2), Vector256.Load(t2 + stride), Vector256.Load(t2 + 2 * stride));
            if (Y.Value > 3)
                (s30, s31, s32, s33) = (Vector256.Load(t3), Vector256.Load(t3 + stride), Vector256.Load(t3 + 2 * stride), Vector256.Load(t3 + 3 * stride));
            nint offset = first;
            for (int i = 0; i < steps; i++, offset += step, line += lineStep)
            {
                Ask(line);
                Vector256<double> a = LoadFour(x0 + offset), b = default, c = default;
                s00 = Vector256.FusedMultiplyAdd(a, a, s00);
                if (Y.Value > 1)
                {
                    b = LoadFour(x1 + offset);
                    s10 = Vector256.FusedMultiplyAdd(a, b, s10);
                    s11 = Vector256.FusedMultiplyAdd(b, b, s11);
                }

                if (Y.Value > 2)
                {
                    c = LoadFour(x2 + offset);
                    s20 = Vector256.FusedMultiplyAdd(a, c, s20);
                    s21 = Vector256.FusedMultiplyAdd(b, c, s21);
                    s22 = Vector256.FusedMultiplyAdd(c, c, s22);
                }

                if (Y.Value > 3)
                {
                    Vector256<double> d = LoadFour(x3 + offset);
                    s30 = Vector256.FusedMultiplyAdd(a, d, s30);
                    s31 = Vector256.FusedMultiplyAdd(b, d, s31);
                    s32 = Vector256.FusedMultiplyAdd(c, d, s32);
                    s33 = Vector256.FusedMultiplyAdd(d, d, s33);
                }
            }

            s00.Store(sums);
            if (Y.Value > 1)
            {
                s10.Store(t1);
                s11.Store(t1 + stride);
            }

            if (Y.Value > 2)
                StoreThree(s20, s21, s22, t2, stride);
            if (Y.Value > 3)
            {
                StoreThree(s30, s31, s32, t3, stride);
                s33.Store(t3 + 3 * stride);
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<double> LoadFour(byte* source) => Vector256.Load((double*)source);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void StoreThree(Vector256<double> a, Vector256<double> b, Vector256<double> c, double* sums, nint stride)
    {
        a.Store(sums);
        b.Store(sums + stride);
        c.Store(sums + 2 * stride);
    }
}
