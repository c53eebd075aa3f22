using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using FedICU.Compute.Simd;

namespace FedICU.Compute;

// The products of AddGram within a tile. Blocks of inputs are multiplied with each other, so that their sums stay in
// registers: five inputs by five are 25 sums for thirty-two registers. With sixteen registers, blocks are three by
// three or four, and their vectors half as wide.
public sealed unsafe partial class SimdBackend
{
    /// <summary>
    /// Computes sum = fma(x, y, sum) over the steps, for each pair of inputs and for each of <paramref name="vectors"/>
    /// times eight columns.
    /// </summary>
    /// <param name="starts">The address of each input's part of the tile.</param>
    /// <param name="step">Bytes from one step to the next.</param>
    /// <param name="steps">The number of steps.</param>
    /// <param name="vectors">Columns, in units of eight; they are contiguous.</param>
    /// <param name="sums">Pairs x columns, added to.</param>
    /// <param name="panels">The inputs, for the prefetcher.</param>
    /// <param name="prefetcher">The tile to prefetch meanwhile.</param>
    private static void AddTile<L, T>(
        byte** starts, nint step, int steps, int vectors, GroupValues sums, ReadOnlySpan<TensorPanel> panels, TilePrefetcher prefetcher)
        where L : unmanaged, ILanes<L>
        where T : struct, IElement
    {
        if (HasFewRegisters<L>())
            AddPairs<FourLanes, Vector256<double>, F64, Three>(starts, step, steps, vectors, sums, panels, prefetcher);
        else
            AddPairs<EightLanes<L>, L, T, Five>(starts, step, steps, vectors, sums, panels, prefetcher);
    }

    /// <summary>Walks over the pairs of inputs in blocks of X inputs.</summary>
    /// <typeparam name="W">The operations on V.</typeparam>
    /// <typeparam name="V">The vector that holds a sum.</typeparam>
    /// <typeparam name="T">The type of a tile's elements: F64 or F32.</typeparam>
    /// <typeparam name="X">The inputs of a block: 3 or 5.</typeparam>
    [MethodImpl(Kernel)]
    private static void AddPairs<W, V, T, X>(
        byte** starts, nint step, int steps, int vectors, GroupValues sums, ReadOnlySpan<TensorPanel> panels, TilePrefetcher prefetcher)
        where W : struct, IGramVector<V>
        where V : unmanaged
        where T : struct, IElement
        where X : struct, ICount
    {
        int inputs = panels.Length;
        nint stride = (nint)sums.Stride;
        for (int k = 0, rows; k < inputs; k += rows)
        {
            // one input left over by blocks of three would wait for its own sums: the last block takes it
            rows = X.Value == 3 && inputs - k == 4 ? 4 : Math.Min(X.Value, inputs - k);
            byte** y = starts + k;
            for (int j = 0; j <= k; j += X.Value)
            {
                byte** x = j < k ? starts + j : null;
                double* first = sums.Row(GramPairs.Index(j, k));
                switch (rows)
                {
                    case 1: AddBlock<W, V, T, X, One>(x, y, step, steps, vectors, first, k, stride, panels, ref prefetcher); break;
                    case 2: AddBlock<W, V, T, X, Two>(x, y, step, steps, vectors, first, k, stride, panels, ref prefetcher); break;
                    case 3: AddBlock<W, V, T, X, Three>(x, y, step, steps, vectors, first, k, stride, panels, ref prefetcher); break;
                    case 4: AddBlock<W, V, T, X, Four>(x, y, step, steps, vectors, first, k, stride, panels, ref prefetcher); break;
                    default: AddBlock<W, V, T, X, Five>(x, y, step, steps, vectors, first, k, stride, panels, ref prefetcher); break;
                }
            }
        }
    }

    private static void AddBlock<W, V, T, X, Y>(
        byte** x, byte** y, nint step, int steps, int vectors, double* sums, int k, nint stride, ReadOnlySpan<TensorPanel> panels,
        ref TilePrefetcher prefetcher)
        where W : struct, IGramVector<V>
        where V : unmanaged
        where T : struct, IElement
        where X : struct, ICount
        where Y : struct, ICount
    {
        if (x != null)
            AddRectangle<W, V, T, X, Y>(x, y, step, steps, vectors, sums, k, stride, panels, ref prefetcher);
        else
            AddTriangle<W, V, T, Y>(y, step, steps, vectors, sums, k, stride, panels, ref prefetcher);
    }

    /// <summary>Adds the pairs of X inputs x with Y inputs y, where k is the number of the first y.</summary>
    [MethodImpl(Kernel)]
    private static void AddRectangle<W, V, T, X, Y>(
        byte** x, byte** y, nint step, int steps, int vectors, double* sums, int k, nint stride, ReadOnlySpan<TensorPanel> panels,
        ref TilePrefetcher prefetcher)
        where W : struct, IGramVector<V>
        where V : unmanaged
        where T : struct, IElement
        where X : struct, ICount
        where Y : struct, ICount
    {
        byte* x0 = x[0], x1 = x[1], x2 = x[2], x3 = X.Value > 3 ? x[3] : null, x4 = X.Value > 4 ? x[4] : null;
        byte* y0 = y[0], y1 = Y.Value > 1 ? y[1] : null, y2 = Y.Value > 2 ? y[2] : null;
        byte* y3 = Y.Value > 3 ? y[3] : null, y4 = Y.Value > 4 ? y[4] : null;
        // the pairs of the next y come k + 1, k + 2, ... places later
        nint one = (k + 1) * stride, two = (2 * k + 3) * stride, three = (3 * k + 6) * stride, four = (4 * k + 10) * stride, first = 0;
        V zero = default;
        for (int v = 0; v < vectors * Lanes; v += W.Lanes, first += W.Lanes * T.Size, sums += W.Lanes)
        {
            // before the sums are in registers, which a call would not keep
            byte* p = prefetcher.Next(panels, *x, out nint pStep), q = p;
            nint qStep = 0;
            if (W.Lanes == Lanes)
                q = prefetcher.Next(panels, *x, out qStep);
            double* t1 = sums + one, t2 = sums + two, t3 = sums + three, t4 = sums + four;
            LoadSums<W, V, X>(sums, stride, out V s00, out V s01, out V s02, out V s03, out V s04);
            V s10 = zero, s11 = zero, s12 = zero, s13 = zero, s14 = zero;
            V s20 = zero, s21 = zero, s22 = zero, s23 = zero, s24 = zero;
            V s30 = zero, s31 = zero, s32 = zero, s33 = zero, s34 = zero;
            V s40 = zero, s41 = zero, s42 = zero, s43 = zero, s44 = zero;
            if (Y.Value > 1)
                LoadSums<W, V, X>(t1, stride, out s10, out s11, out s12, out s13, out s14);
            if (Y.Value > 2)
                LoadSums<W, V, X>(t2, stride, out s20, out s21, out s22, out s23, out s24);
            if (Y.Value > 3)
                LoadSums<W, V, X>(t3, stride, out s30, out s31, out s32, out s33, out s34);
            if (Y.Value > 4)
                LoadSums<W, V, X>(t4, stride, out s40, out s41, out s42, out s43, out s44);
            nint offset = first;
            for (int i = 0; i < steps; i++, offset += step, p += pStep, q += qStep)
            {
                PrefetchLine(p);
                if (W.Lanes == Lanes)
                    PrefetchLine(q);
                V a = W.LoadElements<T>(x0 + offset), b = W.LoadElements<T>(x1 + offset), c = W.LoadElements<T>(x2 + offset);
                V d = X.Value > 3 ? W.LoadElements<T>(x3 + offset) : zero, e = X.Value > 4 ? W.LoadElements<T>(x4 + offset) : zero;
                V z = W.LoadElements<T>(y0 + offset);
                s00 = W.FusedMultiplyAdd(a, z, s00);
                s01 = W.FusedMultiplyAdd(b, z, s01);
                s02 = W.FusedMultiplyAdd(c, z, s02);
                s03 = X.Value > 3 ? W.FusedMultiplyAdd(d, z, s03) : zero;
                s04 = X.Value > 4 ? W.FusedMultiplyAdd(e, z, s04) : zero;
                if (Y.Value > 1)
                {
                    z = W.LoadElements<T>(y1 + offset);
                    s10 = W.FusedMultiplyAdd(a, z, s10);
                    s11 = W.FusedMultiplyAdd(b, z, s11);
                    s12 = W.FusedMultiplyAdd(c, z, s12);
                    s13 = X.Value > 3 ? W.FusedMultiplyAdd(d, z, s13) : zero;
                    s14 = X.Value > 4 ? W.FusedMultiplyAdd(e, z, s14) : zero;
                }

                if (Y.Value > 2)
                {
                    z = W.LoadElements<T>(y2 + offset);
                    s20 = W.FusedMultiplyAdd(a, z, s20);
                    s21 = W.FusedMultiplyAdd(b, z, s21);
                    s22 = W.FusedMultiplyAdd(c, z, s22);
                    s23 = X.Value > 3 ? W.FusedMultiplyAdd(d, z, s23) : zero;
                    s24 = X.Value > 4 ? W.FusedMultiplyAdd(e, z, s24) : zero;
                }

                if (Y.Value > 3)
                {
                    z = W.LoadElements<T>(y3 + offset);
                    s30 = W.FusedMultiplyAdd(a, z, s30);
                    s31 = W.FusedMultiplyAdd(b, z, s31);
                    s32 = W.FusedMultiplyAdd(c, z, s32);
                    s33 = X.Value > 3 ? W.FusedMultiplyAdd(d, z, s33) : zero;
                    s34 = X.Value > 4 ? W.FusedMultiplyAdd(e, z, s34) : zero;
                }

                if (Y.Value > 4)
                {
                    z = W.LoadElements<T>(y4 + offset);
                    s40 = W.FusedMultiplyAdd(a, z, s40);
                    s41 = W.FusedMultiplyAdd(b, z, s41);
                    s42 = W.FusedMultiplyAdd(c, z, s42);
                    s43 = X.Value > 3 ? W.FusedMultiplyAdd(d, z, s43) : zero;
                    s44 = X.Value > 4 ? W.FusedMultiplyAdd(e, z, s44) : zero;
                }
            }

            StoreSums<W, V, X>(s00, s01, s02, s03, s04, sums, stride);
            if (Y.Value > 1)
                StoreSums<W, V, X>(s10, s11, s12, s13, s14, t1, stride);
            if (Y.Value > 2)
                StoreSums<W, V, X>(s20, s21, s22, s23, s24, t2, stride);
            if (Y.Value > 3)
                StoreSums<W, V, X>(s30, s31, s32, s33, s34, t3, stride);
            if (Y.Value > 4)
                StoreSums<W, V, X>(s40, s41, s42, s43, s44, t4, stride);
        }
    }

    /// <summary>Adds the pairs within one block of Y inputs, where k is the number of the first.</summary>
    [MethodImpl(Kernel)]
    private static void AddTriangle<W, V, T, Y>(
        byte** x, nint step, int steps, int vectors, double* sums, int k, nint stride, ReadOnlySpan<TensorPanel> panels,
        ref TilePrefetcher prefetcher)
        where W : struct, IGramVector<V>
        where V : unmanaged
        where T : struct, IElement
        where Y : struct, ICount
    {
        byte* x0 = x[0], x1 = Y.Value > 1 ? x[1] : null, x2 = Y.Value > 2 ? x[2] : null;
        byte* x3 = Y.Value > 3 ? x[3] : null, x4 = Y.Value > 4 ? x[4] : null;
        nint one = (k + 1) * stride, two = (2 * k + 3) * stride, three = (3 * k + 6) * stride, four = (4 * k + 10) * stride, first = 0;
        V zero = default;
        for (int v = 0; v < vectors * Lanes; v += W.Lanes, first += W.Lanes * T.Size, sums += W.Lanes)
        {
            byte* p = prefetcher.Next(panels, *x, out nint pStep), q = p;
            nint qStep = 0;
            if (W.Lanes == Lanes)
                q = prefetcher.Next(panels, *x, out qStep);
            double* t1 = sums + one, t2 = sums + two, t3 = sums + three, t4 = sums + four;
            V s00 = W.Load(sums);
            V s10 = zero, s11 = zero;
            V s20 = zero, s21 = zero, s22 = zero;
            V s30 = zero, s31 = zero, s32 = zero, s33 = zero;
            V s40 = zero, s41 = zero, s42 = zero, s43 = zero, s44 = zero;
            if (Y.Value > 1)
                (s10, s11) = (W.Load(t1), W.Load(t1 + stride));
            if (Y.Value > 2)
                (s20, s21, s22) = (W.Load(t2), W.Load(t2 + stride), W.Load(t2 + 2 * stride));
            if (Y.Value > 3)
                (s30, s31, s32, s33) = (W.Load(t3), W.Load(t3 + stride), W.Load(t3 + 2 * stride), W.Load(t3 + 3 * stride));
            if (Y.Value > 4)
            {
                (s40, s41, s42) = (W.Load(t4), W.Load(t4 + stride), W.Load(t4 + 2 * stride));
                (s43, s44) = (W.Load(t4 + 3 * stride), W.Load(t4 + 4 * stride));
            }

            nint offset = first;
            for (int i = 0; i < steps; i++, offset += step, p += pStep, q += qStep)
            {
                PrefetchLine(p);
                if (W.Lanes == Lanes)
                    PrefetchLine(q);
                V a = W.LoadElements<T>(x0 + offset), b = zero, c = zero, d = zero;
                s00 = W.FusedMultiplyAdd(a, a, s00);
                if (Y.Value > 1)
                {
                    b = W.LoadElements<T>(x1 + offset);
                    s10 = W.FusedMultiplyAdd(a, b, s10);
                    s11 = W.FusedMultiplyAdd(b, b, s11);
                }

                if (Y.Value > 2)
                {
                    c = W.LoadElements<T>(x2 + offset);
                    s20 = W.FusedMultiplyAdd(a, c, s20);
                    s21 = W.FusedMultiplyAdd(b, c, s21);
                    s22 = W.FusedMultiplyAdd(c, c, s22);
                }

                if (Y.Value > 3)
                {
                    d = W.LoadElements<T>(x3 + offset);
                    s30 = W.FusedMultiplyAdd(a, d, s30);
                    s31 = W.FusedMultiplyAdd(b, d, s31);
                    s32 = W.FusedMultiplyAdd(c, d, s32);
                    s33 = W.FusedMultiplyAdd(d, d, s33);
                }

                if (Y.Value > 4)
                {
                    V e = W.LoadElements<T>(x4 + offset);
                    s40 = W.FusedMultiplyAdd(a, e, s40);
                    s41 = W.FusedMultiplyAdd(b, e, s41);
                    s42 = W.FusedMultiplyAdd(c, e, s42);
                    s43 = W.FusedMultiplyAdd(d, e, s43);
                    s44 = W.FusedMultiplyAdd(e, e, s44);
                }
            }

            W.Store(s00, sums);
            if (Y.Value > 1)
            {
                W.Store(s10, t1);
                W.Store(s11, t1 + stride);
            }

            if (Y.Value > 2)
            {
                W.Store(s20, t2);
                W.Store(s21, t2 + stride);
                W.Store(s22, t2 + 2 * stride);
            }

            if (Y.Value > 3)
            {
                W.Store(s30, t3);
                W.Store(s31, t3 + stride);
                W.Store(s32, t3 + 2 * stride);
                W.Store(s33, t3 + 3 * stride);
            }

            if (Y.Value > 4)
            {
                W.Store(s40, t4);
                W.Store(s41, t4 + stride);
                W.Store(s42, t4 + 2 * stride);
                W.Store(s43, t4 + 3 * stride);
                W.Store(s44, t4 + 4 * stride);
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void LoadSums<W, V, X>(double* sums, nint stride, out V a, out V b, out V c, out V d, out V e)
        where W : struct, IGramVector<V>
        where V : unmanaged
        where X : struct, ICount
    {
        a = W.Load(sums);
        b = W.Load(sums + stride);
        c = W.Load(sums + 2 * stride);
        d = X.Value > 3 ? W.Load(sums + 3 * stride) : default;
        e = X.Value > 4 ? W.Load(sums + 4 * stride) : default;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void StoreSums<W, V, X>(V a, V b, V c, V d, V e, double* sums, nint stride)
        where W : struct, IGramVector<V>
        where V : unmanaged
        where X : struct, ICount
    {
        W.Store(a, sums);
        W.Store(b, sums + stride);
        W.Store(c, sums + 2 * stride);
        if (X.Value > 3)
            W.Store(d, sums + 3 * stride);
        if (X.Value > 4)
            W.Store(e, sums + 4 * stride);
    }
}
