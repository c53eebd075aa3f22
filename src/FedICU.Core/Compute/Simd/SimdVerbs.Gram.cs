using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace FedICU.Compute;

// The inner products of all pairs of inputs: AddGram. As products read each element many times, a stripe of all inputs is widened first, into the
// second cache; from there it goes tile by tile through the first.
internal sealed unsafe partial class SimdVerbs<L>
{
    /// <summary>Inputs of a block: the pairs of two blocks, twenty-five, are summed in registers.</summary>
    private const int GramInputs = 5;

    private const int TileColumns = 2 * Lanes;
    // a stripe and its sums share the second cache, a tile and its sums the first; the more rows, the seldomer the sums are fetched
    private const int SumBytes = 100 << 10, StripeBytes = 256 << 10, TileBytes = 24 << 10;
    private const int MostWidth = 128 * Lanes;

    public void AddGram(ReadOnlySpan<TensorPanel> inputs, PanelGeometry geometry, GroupValues grams)
    {
        if (inputs.Length == 0 || geometry.Length == 0)
            return;
        bool columns = geometry.GroupsAreColumns;
        int pairs = GramPairs.Count(inputs.Length), row = inputs.Length * sizeof(double);
        int width = Math.Min(columns ? SumBytes / (pairs * sizeof(double)) : StripeBytes / row, Math.Min(geometry.Columns, MostWidth));
        width = (Math.Max(width, 1) + TileColumns - 1) / TileColumns * TileColumns;
        int rows = columns ? Math.Clamp(Math.Min(StripeBytes / (row * width), TileBytes / (row * TileColumns)), 1, geometry.Rows) : 1;
        // as many in one pass as in the next
        rows = columns ? (geometry.Rows - 1) / ((geometry.Rows + rows - 1) / rows) + 1 : 1;
        // rows that are an odd number of cache lines apart do not meet in the same sets
        var stripe = new Stripe { Width = width, Step = width + Lanes, Rows = rows, Inputs = inputs.Length };
        stripe.Data = (double*)NativeMemory.AlignedAlloc((nuint)(inputs.Length * stripe.Distance + pairs * TileColumns) * sizeof(double), Slack);
        try
        {
            var apart = new GroupValues(stripe.Data + inputs.Length * stripe.Distance, TileColumns);
            if (columns)
                GramOfColumns(inputs, geometry, grams, stripe, apart);
            else
                GramOfRows(inputs, geometry, grams, stripe, apart);
        }
        finally
        {
            NativeMemory.AlignedFree(stripe.Data);
        }
    }

    /// <summary>Some rows and columns of all inputs as float64: row r of input k begins at Data + k * Distance + r * Step.</summary>
    private struct Stripe
    {
        public double* Data;
        public int Width, Step, Rows, Inputs;

        public readonly int Distance => Rows * Step;
    }

    [MethodImpl(Kernel)]
    private static void GramOfColumns(ReadOnlySpan<TensorPanel> inputs, PanelGeometry geometry, GroupValues grams, in Stripe stripe, GroupValues apart)
    {
        for (int row = 0; row < geometry.Rows; row += stripe.Rows)
        {
            int rows = Math.Min(stripe.Rows, geometry.Rows - row);
            if (rows > 1)
                Touch(inputs, (long)row * geometry.Columns, (long)rows * geometry.Columns);
            for (int start = 0; start < geometry.Columns; start += stripe.Width)
            {
                int width = Math.Min(stripe.Width, geometry.Columns - start), tiles = (width + TileColumns - 1) / TileColumns;
                long offset = (long)row * geometry.Columns + start;
                for (int k = 0; k < inputs.Length; k++)
                {
                    for (int r = 0; r < rows; r++)
                        WidenRun(inputs[k], offset + (long)r * geometry.Columns, width, stripe.Data + k * stripe.Distance + r * stripe.Step);
                }

                for (int tile = 0; tile < tiles; tile++)
                {
                    int column = start + tile * TileColumns, count = Math.Min(TileColumns, geometry.Columns - column);
                    // the sums of the last columns are kept apart, so that nothing is read or written past them
                    GroupValues sums = count == TileColumns ? new GroupValues(grams.Data + column, grams.Stride) : apart;
                    if (count < TileColumns)
                        CopySums(grams, column, apart, 0, count, inputs.Length);
                    AddTile(stripe.Data + tile * TileColumns, stripe.Distance, inputs.Length, stripe.Step, rows, 2, sums);
                    if (count < TileColumns)
                        CopySums(apart, 0, grams, column, count, inputs.Length);
                }
            }
        }
    }

    private static void CopySums(GroupValues from, int fromGroup, GroupValues to, int toGroup, int count, int inputs)
    {
        for (int pair = 0; pair < GramPairs.Count(inputs); pair++)
            new Span<double>(from.Row(pair) + fromGroup, count).CopyTo(new Span<double>(to.Row(pair) + toGroup, count));
    }

    [MethodImpl(Kernel)]
    private static void GramOfRows(ReadOnlySpan<TensorPanel> inputs, PanelGeometry geometry, GroupValues grams, in Stripe stripe, GroupValues lanes)
    {
        const int Run = 64 * Lanes;
        int pairs = GramPairs.Count(inputs.Length);
        for (int row = 0; row < geometry.Rows; row++)
        {
            new Span<double>(lanes.Data, pairs * TileColumns).Clear();
            for (int start = 0; start < geometry.Columns; start += stripe.Width)
            {
                int width = Math.Min(stripe.Width, geometry.Columns - start);
                for (int k = 0; k < inputs.Length; k++)
                    WidenRun(inputs[k], (long)row * geometry.Columns + start, width, stripe.Data + k * stripe.Distance);
                for (int column = 0; column < width; column += Run)
                {
                    int steps = (Math.Min(Run, width - column) + Lanes - 1) / Lanes;
                    AddTile(stripe.Data + column, stripe.Distance, inputs.Length, Lanes, steps, 1, lanes);
                }
            }

            for (int pair = 0; pair < pairs; pair++)
                grams.Row(pair)[row] += L.Sum(L.Load(lanes.Row(pair)));
        }
    }

    /// <summary>Elements as float64, and zeros up to a multiple of a tile's columns.</summary>
    private static void WidenRun(TensorPanel input, long offset, int count, double* target)
    {
        byte* data = (byte*)input.Data;
        switch (input.DType)
        {
            case DType.F64: Widen<F64>(data + offset * sizeof(double), count, target); break;
            case DType.F32: Widen<F32>(data + offset * sizeof(float), count, target); break;
            case DType.F16: Widen<F16>(data + offset * sizeof(ushort), count, target); break;
            case DType.BF16: Widen<BF16>(data + offset * sizeof(ushort), count, target); break;
            default: throw Rounding.NotComputed(input.DType);
        }

        for (int i = (count + Lanes - 1) / Lanes * Lanes; i % TileColumns != 0; i += Lanes)
            L.Store(L.Broadcast(0), target + i);
    }

    /// <summary>
    /// For each pair and each of some vectors that lie side by side: sum = fma(x, y, sum) over the steps. Blocks of five inputs against five keep
    /// their sums in registers.
    /// </summary>
    [MethodImpl(Kernel)]
    private static void AddTile(double* data, nint distance, int inputs, nint step, int steps, int vectors, GroupValues sums)
    {
        for (int k = 0; k < inputs; k += GramInputs)
        {
            int rows = Math.Min(GramInputs, inputs - k);
            double* y = data + k * distance;
            for (int j = 0; j <= k; j += GramInputs)
            {
                double* first = sums.Row(GramPairs.Index(j, k));
                if (j < k)
                    GramBlock(data + j * distance, y, rows, distance, step, steps, vectors, first, k, (nint)sums.Stride);
                else
                    GramTriangle(y, rows, distance, step, steps, vectors, first, k, (nint)sums.Stride);
            }
        }
    }

    /// <summary>The pairs of five inputs x and up to five inputs y, k being the number of the first y.</summary>
    [MethodImpl(Kernel)]
    private static void GramBlock(double* x, double* y, int rows, nint distance, nint step, int steps, int vectors, double* sums, int k, nint stride)
    {
        double* x0 = x, x1 = x0 + distance, x2 = x1 + distance, x3 = x2 + distance, x4 = x3 + distance;
        double* y0 = y, y1 = y0 + distance, y2 = y1 + distance, y3 = y2 + distance, y4 = y3 + distance;
        // the pairs of a further y come k + 1, k + 2, ... places later
        nint one = (k + 1) * stride, two = (2 * k + 3) * stride, three = (3 * k + 6) * stride, four = (4 * k + 10) * stride;
        for (; vectors > 0; vectors--, sums += Lanes)
        {
            double* t0 = sums, t1 = sums + one, t2 = sums + two, t3 = sums + three, t4 = sums + four;
            L zero = L.Broadcast(0);
            LoadFive(t0, stride, out L s00, out L s01, out L s02, out L s03, out L s04);
            L s10 = zero, s11 = zero, s12 = zero, s13 = zero, s14 = zero;
            L s20 = zero, s21 = zero, s22 = zero, s23 = zero, s24 = zero;
            L s30 = zero, s31 = zero, s32 = zero, s33 = zero, s34 = zero;
            L s40 = zero, s41 = zero, s42 = zero, s43 = zero, s44 = zero;
            if (rows > 1)
                LoadFive(t1, stride, out s10, out s11, out s12, out s13, out s14);
            if (rows > 2)
                LoadFive(t2, stride, out s20, out s21, out s22, out s23, out s24);
            if (rows > 3)
                LoadFive(t3, stride, out s30, out s31, out s32, out s33, out s34);
            if (rows > 4)
                LoadFive(t4, stride, out s40, out s41, out s42, out s43, out s44);
            nint offset = 0;
            for (int i = 0; i < steps; i++, offset += step)
            {
                L a = L.Load(x0 + offset), b = L.Load(x1 + offset), c = L.Load(x2 + offset), d = L.Load(x3 + offset), e = L.Load(x4 + offset);
                L z = L.Load(y0 + offset);
                s00 = L.FusedMultiplyAdd(a, z, s00);
                s01 = L.FusedMultiplyAdd(b, z, s01);
                s02 = L.FusedMultiplyAdd(c, z, s02);
                s03 = L.FusedMultiplyAdd(d, z, s03);
                s04 = L.FusedMultiplyAdd(e, z, s04);
                if (rows > 1)
                {
                    z = L.Load(y1 + offset);
                    s10 = L.FusedMultiplyAdd(a, z, s10);
                    s11 = L.FusedMultiplyAdd(b, z, s11);
                    s12 = L.FusedMultiplyAdd(c, z, s12);
                    s13 = L.FusedMultiplyAdd(d, z, s13);
                    s14 = L.FusedMultiplyAdd(e, z, s14);
                }

                if (rows > 2)
                {
                    z = L.Load(y2 + offset);
                    s20 = L.FusedMultiplyAdd(a, z, s20);
                    s21 = L.FusedMultiplyAdd(b, z, s21);
                    s22 = L.FusedMultiplyAdd(c, z, s22);
                    s23 = L.FusedMultiplyAdd(d, z, s23);
                    s24 = L.FusedMultiplyAdd(e, z, s24);
                }

                if (rows > 3)
                {
                    z = L.Load(y3 + offset);
                    s30 = L.FusedMultiplyAdd(a, z, s30);
                    s31 = L.FusedMultiplyAdd(b, z, s31);
                    s32 = L.FusedMultiplyAdd(c, z, s32);
                    s33 = L.FusedMultiplyAdd(d, z, s33);
                    s34 = L.FusedMultiplyAdd(e, z, s34);
                }

                if (rows > 4)
                {
                    z = L.Load(y4 + offset);
                    s40 = L.FusedMultiplyAdd(a, z, s40);
                    s41 = L.FusedMultiplyAdd(b, z, s41);
                    s42 = L.FusedMultiplyAdd(c, z, s42);
                    s43 = L.FusedMultiplyAdd(d, z, s43);
                    s44 = L.FusedMultiplyAdd(e, z, s44);
                }

            }

            StoreFive(s00, s01, s02, s03, s04, t0, stride);
            if (rows > 1)
                StoreFive(s10, s11, s12, s13, s14, t1, stride);
            if (rows > 2)
                StoreFive(s20, s21, s22, s23, s24, t2, stride);
            if (rows > 3)
                StoreFive(s30, s31, s32, s33, s34, t3, stride);
            if (rows > 4)
                StoreFive(s40, s41, s42, s43, s44, t4, stride);
            x0 += Lanes;
            x1 += Lanes;
            x2 += Lanes;
            x3 += Lanes;
            x4 += Lanes;
            y0 += Lanes;
            y1 += Lanes;
            y2 += Lanes;
            y3 += Lanes;
            y4 += Lanes;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void LoadFive(double* sums, nint stride, out L a, out L b, out L c, out L d, out L e)
    {
        a = L.Load(sums);
        b = L.Load(sums + stride);
        c = L.Load(sums + 2 * stride);
        d = L.Load(sums + 3 * stride);
        e = L.Load(sums + 4 * stride);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void StoreFive(L a, L b, L c, L d, L e, double* sums, nint stride)
    {
        L.Store(a, sums);
        L.Store(b, sums + stride);
        L.Store(c, sums + 2 * stride);
        L.Store(d, sums + 3 * stride);
        L.Store(e, sums + 4 * stride);
    }

    /// <summary>The pairs within one block of up to five inputs.</summary>
    [MethodImpl(Kernel)]
    private static void GramTriangle(double* x, int rows, nint distance, nint step, int steps, int vectors, double* sums, int k, nint stride)
    {
        double* x0 = x, x1 = x0 + distance, x2 = x1 + distance, x3 = x2 + distance, x4 = x3 + distance;
        nint one = (k + 1) * stride, two = (2 * k + 3) * stride, three = (3 * k + 6) * stride, four = (4 * k + 10) * stride;
        for (; vectors > 0; vectors--, sums += Lanes)
        {
            double* t1 = sums + one, t2 = sums + two, t3 = sums + three, t4 = sums + four;
            L zero = L.Broadcast(0);
            L s00 = L.Load(sums);
            L s10 = zero, s11 = zero;
            L s20 = zero, s21 = zero, s22 = zero;
            L s30 = zero, s31 = zero, s32 = zero, s33 = zero;
            L s40 = zero, s41 = zero, s42 = zero, s43 = zero, s44 = zero;
            if (rows > 1)
                (s10, s11) = (L.Load(t1), L.Load(t1 + stride));
            if (rows > 2)
                (s20, s21, s22) = (L.Load(t2), L.Load(t2 + stride), L.Load(t2 + 2 * stride));
            if (rows > 3)
                (s30, s31, s32, s33) = (L.Load(t3), L.Load(t3 + stride), L.Load(t3 + 2 * stride), L.Load(t3 + 3 * stride));
            if (rows > 4)
                (s40, s41, s42, s43, s44) = (L.Load(t4), L.Load(t4 + stride), L.Load(t4 + 2 * stride), L.Load(t4 + 3 * stride), L.Load(t4 + 4 * stride));
            nint offset = 0;
            for (int i = 0; i < steps; i++, offset += step)
            {
                L a = L.Load(x0 + offset), b = zero, c = zero, d = zero;
                s00 = L.FusedMultiplyAdd(a, a, s00);
                if (rows > 1)
                {
                    b = L.Load(x1 + offset);
                    s10 = L.FusedMultiplyAdd(a, b, s10);
                    s11 = L.FusedMultiplyAdd(b, b, s11);
                }

                if (rows > 2)
                {
                    c = L.Load(x2 + offset);
                    s20 = L.FusedMultiplyAdd(a, c, s20);
                    s21 = L.FusedMultiplyAdd(b, c, s21);
                    s22 = L.FusedMultiplyAdd(c, c, s22);
                }

                if (rows > 3)
                {
                    d = L.Load(x3 + offset);
                    s30 = L.FusedMultiplyAdd(a, d, s30);
                    s31 = L.FusedMultiplyAdd(b, d, s31);
                    s32 = L.FusedMultiplyAdd(c, d, s32);
                    s33 = L.FusedMultiplyAdd(d, d, s33);
                }

                if (rows > 4)
                {
                    L e = L.Load(x4 + offset);
                    s40 = L.FusedMultiplyAdd(a, e, s40);
                    s41 = L.FusedMultiplyAdd(b, e, s41);
                    s42 = L.FusedMultiplyAdd(c, e, s42);
                    s43 = L.FusedMultiplyAdd(d, e, s43);
                    s44 = L.FusedMultiplyAdd(e, e, s44);
                }

            }

            L.Store(s00, sums);
            if (rows > 1)
            {
                L.Store(s10, t1);
                L.Store(s11, t1 + stride);
            }

            if (rows > 2)
            {
                L.Store(s20, t2);
                L.Store(s21, t2 + stride);
                L.Store(s22, t2 + 2 * stride);
            }

            if (rows > 3)
            {
                L.Store(s30, t3);
                L.Store(s31, t3 + stride);
                L.Store(s32, t3 + 2 * stride);
                L.Store(s33, t3 + 3 * stride);
            }

            if (rows > 4)
            {
                L.Store(s40, t4);
                L.Store(s41, t4 + stride);
                L.Store(s42, t4 + 2 * stride);
                L.Store(s43, t4 + 3 * stride);
                L.Store(s44, t4 + 4 * stride);
            }

            x0 += Lanes;
            x1 += Lanes;
            x2 += Lanes;
            x3 += Lanes;
            x4 += Lanes;
        }
    }
}
