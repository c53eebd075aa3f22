using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics.X86;

namespace FedICU.Compute.Simd;

// The inner products of all pairs of inputs: AddGram. As products read each element many times, a tile of all inputs is widened first; it and the sums of
// a few of its pairs stay in the first cache.
internal sealed unsafe partial class SimdVerbs<L>
{
    /// <summary>Inputs of a block: the pairs of two blocks, twenty-five, are summed in registers.</summary>
    private const int GramInputs = 5;

    private const int TileColumns = 2 * Lanes;
    // the sums of a stripe of columns stay in the second cache while all rows go by, a tile in the first
    private const int SumBytes = 256 << 10, TileBytes = 26 << 10;
    // a panel of ten inputs with 4096 columns is one tile high
    private const int MostRows = 20;
    /// <summary>Tiles between the one that is asked of the memory and the one that is worked on.</summary>
    private const int TilesAhead = 4;

    public void AddGram(ReadOnlySpan<TensorPanel> inputs, PanelGeometry geometry, GroupValues grams)
    {
        if (inputs.Length == 0 || geometry.Length == 0)
            return;
        int pairs = GramPairs.Count(inputs.Length);
        int rows = geometry.GroupsAreColumns ? Evenly(geometry.Rows, Math.Clamp(TileBytes / (inputs.Length * TileColumns * sizeof(double)), 1, MostRows)) : 1;
        int width = geometry.GroupsAreColumns ? TileColumns : RowStripe;
        double* memory = (double*)NativeMemory.AlignedAlloc((nuint)(inputs.Length * (rows * width + 1) + pairs * TileColumns) * sizeof(double), Slack);
        try
        {
            var apart = new GroupValues(memory + inputs.Length * rows * width, TileColumns);
            byte** places = (byte**)apart.Row(pairs);
            if (geometry.GroupsAreColumns)
                AddColumns(inputs, geometry, grams, (byte*)memory, rows, apart, places);
            else
                GramOfRows(inputs, geometry, grams, memory, apart, places);
        }
        finally
        {
            NativeMemory.AlignedFree(memory);
        }
    }

    /// <summary>The rows of a tile, at most so many: a last one of a few rows would fetch its sums for little.</summary>
    private static int Evenly(int rows, int most)
    {
        int tiles = (rows + most - 1) / most;
        return (rows + tiles - 1) / tiles;
    }

    private static void AddColumns(ReadOnlySpan<TensorPanel> inputs, PanelGeometry geometry, GroupValues grams, byte* tile, int tileRows, GroupValues apart, byte** places)
    {
        // float32 holds the narrower types exactly, in half the room
        bool wide = FewRegisters;
        foreach (TensorPanel input in inputs)
            wide |= input.DType == DType.F64;
        if (wide)
            GramOfColumns<F64>(inputs, geometry, grams, tile, tileRows, apart, places);
        else
            GramOfColumns<F32>(inputs, geometry, grams, tile, tileRows, apart, places);
    }

    private static void GramOfColumns<T>(ReadOnlySpan<TensorPanel> inputs, PanelGeometry geometry, GroupValues grams, byte* tile, int tileRows, GroupValues apart, byte** places)
        where T : struct, IElement
    {
        int n = inputs.Length, columns = geometry.Columns;
        // packed are rows that would drive each other out of the cache, being a power of two apart, and types that are not widened at once
        int rowBytes = columns * T.Size;
        bool direct = (rowBytes & -rowBytes) <= 256;
        foreach (TensorPanel input in inputs)
            direct &= input.DType.BitSize == 8 * T.Size;
        int width = Math.Max(SumBytes / (GramPairs.Count(n) * sizeof(double)) / TileColumns, 1) * TileColumns;
        for (int start = 0; start < columns; start += width)
        {
            int end = Math.Min(start + width, columns);
            for (int row = 0; row < geometry.Rows; row += tileRows)
            {
                int rows = Math.Min(tileRows, geometry.Rows - row);
                for (int column = start; column < end; column += TileColumns)
                {
                    int count = Math.Min(TileColumns, end - column);
                    bool asTheyLie = direct && count == TileColumns;
                    nint step = asTheyLie ? columns * T.Size : n * TileColumns * T.Size;
                    long offset = (long)row * columns + column;
                    for (int k = 0; k < n; k++)
                    {
                        places[k] = asTheyLie ? (byte*)inputs[k].Data + offset * T.Size : tile + k * TileColumns * T.Size;
                        if (!asTheyLie)
                            Pack<T>(inputs[k], offset, columns, rows, count, places[k], step);
                    }

                    // the tile some steps further on: to the right, else at the left of the next rows
                    int next = column + TilesAhead * TileColumns, nextRow = next < end ? row : row + rows;
                    var ahead = new Ahead
                    {
                        Offset = (long)nextRow * columns + (next < end ? next : Math.Min(start + next - end, columns - 1)),
                        Columns = nextRow < geometry.Rows ? columns : 0,
                    };
                    // the sums of the last columns are kept apart, so that nothing is read or written past them
                    GroupValues sums = count == TileColumns ? new GroupValues(grams.Data + column, grams.Stride) : apart;
                    if (count < TileColumns)
                        CopySums(grams, column, apart, 0, count, n);
                    AddTile<T>(places, step, rows, TileColumns / Lanes, sums, inputs, ahead);
                    if (count < TileColumns)
                        CopySums(apart, 0, grams, column, count, n);
                }
            }
        }
    }

    /// <summary>
    /// A tile that the memory is asked for in good time, a line of two inputs at each step of the products: what is asked for at once, the processor drops.
    /// </summary>
    private struct Ahead
    {
        public long Offset;
        public nint Columns;
        public int Input;

        /// <summary>The first line of the next input, and the distance of its rows; of <paramref name="idle"/>, which is in the cache, when all have had their turn.</summary>
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public byte* Next(ReadOnlySpan<TensorPanel> inputs, byte* idle, out nint step)
        {
            step = 0;
            if (Columns == 0 || Input == inputs.Length)
                return idle;
            nint size = inputs[Input].DType.BitSize / 8;
            step = Columns * size;
            return (byte*)inputs[Input++].Data + Offset * size;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Ask(byte* line)
    {
        if (Sse.IsSupported)
            Sse.Prefetch0(line);
    }

    private static void Pack<T>(TensorPanel input, long offset, int columns, int rows, int count, byte* target, nint step) where T : struct, IElement
    {
        byte* data = (byte*)input.Data;
        switch (input.DType)
        {
            case DType.F64: Pack<F64, T>(data + offset * sizeof(double), columns, rows, count, target, step); break;
            case DType.F32: Pack<F32, T>(data + offset * sizeof(float), columns, rows, count, target, step); break;
            case DType.F16: Pack<F16, T>(data + offset * sizeof(ushort), columns, rows, count, target, step); break;
            case DType.BF16: Pack<BF16, T>(data + offset * sizeof(ushort), columns, rows, count, target, step); break;
            default: throw Rounding.NotComputed(input.DType);
        }
    }

    /// <summary>Rows of a tile in a type that holds them exactly, and zeros after fewer columns.</summary>
    [MethodImpl(Kernel)]
    private static void Pack<E, T>(byte* x, nint columns, int rows, int count, byte* target, nint step)
        where E : struct, IElement
        where T : struct, IElement
    {
        for (int row = 0; row < rows; row++, x += columns * E.Size, target += step)
        {
            if (typeof(E) == typeof(T) && count == TileColumns)
            {
                Unsafe.CopyBlockUnaligned(target, x, (uint)(TileColumns * T.Size));
                continue;
            }

            T.StoreFinite(count >= Lanes ? E.Load<L>(x) : Partial<L>.Load<E>(x, count), target);
            L second = count == TileColumns ? E.Load<L>(x + Lanes * E.Size) : count > Lanes ? Partial<L>.Load<E>(x + Lanes * E.Size, count - Lanes) : L.Broadcast(0);
            T.StoreFinite(second, target + Lanes * T.Size);
        }
    }

    private static void CopySums(GroupValues from, int fromGroup, GroupValues to, int toGroup, int count, int inputs)
    {
        for (int pair = 0; pair < GramPairs.Count(inputs); pair++)
            new Span<double>(from.Row(pair) + fromGroup, count).CopyTo(new Span<double>(to.Row(pair) + toGroup, count));
    }

    /// <summary>Elements of a row that are widened at once.</summary>
    private const int RowStripe = 64 * Lanes;

    private static void GramOfRows(ReadOnlySpan<TensorPanel> inputs, PanelGeometry geometry, GroupValues grams, double* stripe, GroupValues lanes, byte** places)
    {
        int pairs = GramPairs.Count(inputs.Length);
        for (int row = 0; row < geometry.Rows; row++)
        {
            new Span<double>(lanes.Data, pairs * TileColumns).Clear();
            for (int start = 0; start < geometry.Columns; start += RowStripe)
            {
                int count = Math.Min(RowStripe, geometry.Columns - start);
                for (int k = 0; k < inputs.Length; k++)
                {
                    places[k] = (byte*)(stripe + k * RowStripe);
                    WidenRun(inputs[k], (long)row * geometry.Columns + start, count, stripe + k * RowStripe);
                }

                AddTile<F64>(places, Lanes * sizeof(double), (count + Lanes - 1) / Lanes, 1, lanes, inputs, default);
            }

            for (int pair = 0; pair < pairs; pair++)
                grams.Row(pair)[row] += L.Sum(L.Load(lanes.Row(pair)));
        }
    }

    /// <summary>Elements as float64, and zeros up to a multiple of eight.</summary>
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
    }

    /// <summary>
    /// For each of some vectors that lie side by side and each pair: sum = fma(x, y, sum) over the steps. Blocks of five inputs against five keep their sums
    /// in registers.
    /// </summary>
    [MethodImpl(Kernel)]
    private static void AddTile<T>(byte** places, nint step, int steps, int vectors, GroupValues sums, ReadOnlySpan<TensorPanel> panels, Ahead ahead)
        where T : struct, IElement
    {
        if (FewRegisters && typeof(T) == typeof(F64))
        {
            AddTileByFour(places, step, steps, vectors, sums, panels, ahead);
            return;
        }

        int inputs = panels.Length;
        for (int k = 0; k < inputs; k += GramInputs)
        {
            int rows = Math.Min(GramInputs, inputs - k);
            byte** y = places + k;
            for (int j = 0; j <= k; j += GramInputs)
            {
                byte** x = j < k ? places + j : null;
                double* first = sums.Row(GramPairs.Index(j, k));
                for (int v = 0; v < vectors; v++, first += Lanes)
                {
                    nint shift = v * Lanes * T.Size;
                    byte* p = ahead.Next(panels, *places, out nint pStep), q = ahead.Next(panels, *places, out nint qStep);
                    var lines = new Lines { P = p, Q = q, PStep = pStep, QStep = qStep };
                    switch (rows)
                    {
                        case 1: GramPart<T, One>(x, y, shift, step, steps, first, k, (nint)sums.Stride, lines); break;
                        case 2: GramPart<T, Two>(x, y, shift, step, steps, first, k, (nint)sums.Stride, lines); break;
                        case 3: GramPart<T, Three>(x, y, shift, step, steps, first, k, (nint)sums.Stride, lines); break;
                        case 4: GramPart<T, Four>(x, y, shift, step, steps, first, k, (nint)sums.Stride, lines); break;
                        default: GramPart<T, Five>(x, y, shift, step, steps, first, k, (nint)sums.Stride, lines); break;
                    }
                }
            }
        }
    }

    /// <summary>The inputs of a block, known to the compiler.</summary>
    private interface ICount
    {
        static abstract int Value { get; }
    }

    private readonly struct One : ICount
    {
        public static int Value => 1;
    }

    private readonly struct Two : ICount
    {
        public static int Value => 2;
    }

    private readonly struct Three : ICount
    {
        public static int Value => 3;
    }

    private readonly struct Four : ICount
    {
        public static int Value => 4;
    }

    private readonly struct Five : ICount
    {
        public static int Value => GramInputs;
    }

    /// <summary>Two lines to ask the memory for, and where the next ones are.</summary>
    private struct Lines
    {
        public byte* P, Q;
        public nint PStep, QStep;
    }

    private static void GramPart<T, Y>(byte** x, byte** y, nint shift, nint step, int steps, double* sums, int k, nint stride, Lines lines)
        where T : struct, IElement
        where Y : struct, ICount
    {
        if (x != null)
            GramBlock<T, Y>(x, y, shift, step, steps, sums, k, stride, lines);
        else
            GramTriangle<T, Y>(y, shift, step, steps, sums, k, stride, lines);
    }

    /// <summary>The pairs of five inputs x and up to five inputs y, k being the number of the first y.</summary>
    [MethodImpl(Kernel)]
    private static void GramBlock<T, Y>(byte** x, byte** y, nint shift, nint step, int steps, double* sums, int k, nint stride, Lines lines)
        where T : struct, IElement
        where Y : struct, ICount
    {
        byte* x0 = x[0] + shift, x1 = x[1] + shift, x2 = x[2] + shift, x3 = x[3] + shift, x4 = x[4] + shift;
        byte* y0 = y[0] + shift, y1 = Y.Value > 1 ? y[1] + shift : null, y2 = Y.Value > 2 ? y[2] + shift : null, y3 = Y.Value > 3 ? y[3] + shift : null, y4 = Y.Value > 4 ? y[4] + shift : null;
        // the pairs of a further y come k + 1, k + 2, ... places later
        nint one = (k + 1) * stride, two = (2 * k + 3) * stride, three = (3 * k + 6) * stride, four = (4 * k + 10) * stride;
        double* t0 = sums, t1 = sums + one, t2 = sums + two, t3 = sums + three, t4 = sums + four;
        L zero = L.Broadcast(0);
        LoadFive(t0, stride, out L s00, out L s01, out L s02, out L s03, out L s04);
        L s10 = zero, s11 = zero, s12 = zero, s13 = zero, s14 = zero;
        L s20 = zero, s21 = zero, s22 = zero, s23 = zero, s24 = zero;
        L s30 = zero, s31 = zero, s32 = zero, s33 = zero, s34 = zero;
        L s40 = zero, s41 = zero, s42 = zero, s43 = zero, s44 = zero;
        if (Y.Value > 1)
            LoadFive(t1, stride, out s10, out s11, out s12, out s13, out s14);
        if (Y.Value > 2)
            LoadFive(t2, stride, out s20, out s21, out s22, out s23, out s24);
        if (Y.Value > 3)
            LoadFive(t3, stride, out s30, out s31, out s32, out s33, out s34);
        if (Y.Value > 4)
            LoadFive(t4, stride, out s40, out s41, out s42, out s43, out s44);
        byte* p = lines.P, q = lines.Q;
        nint offset = 0;
        for (int i = 0; i < steps; i++, offset += step, p += lines.PStep, q += lines.QStep)
        {
            Ask(p);
            Ask(q);
            L a = T.Load<L>(x0 + offset), b = T.Load<L>(x1 + offset), c = T.Load<L>(x2 + offset), d = T.Load<L>(x3 + offset), e = T.Load<L>(x4 + offset);
            L z = T.Load<L>(y0 + offset);
            s00 = L.FusedMultiplyAdd(a, z, s00);
            s01 = L.FusedMultiplyAdd(b, z, s01);
            s02 = L.FusedMultiplyAdd(c, z, s02);
            s03 = L.FusedMultiplyAdd(d, z, s03);
            s04 = L.FusedMultiplyAdd(e, z, s04);
            if (Y.Value > 1)
            {
                z = T.Load<L>(y1 + offset);
                s10 = L.FusedMultiplyAdd(a, z, s10);
                s11 = L.FusedMultiplyAdd(b, z, s11);
                s12 = L.FusedMultiplyAdd(c, z, s12);
                s13 = L.FusedMultiplyAdd(d, z, s13);
                s14 = L.FusedMultiplyAdd(e, z, s14);
            }

            if (Y.Value > 2)
            {
                z = T.Load<L>(y2 + offset);
                s20 = L.FusedMultiplyAdd(a, z, s20);
                s21 = L.FusedMultiplyAdd(b, z, s21);
                s22 = L.FusedMultiplyAdd(c, z, s22);
                s23 = L.FusedMultiplyAdd(d, z, s23);
                s24 = L.FusedMultiplyAdd(e, z, s24);
            }

            if (Y.Value > 3)
            {
                z = T.Load<L>(y3 + offset);
                s30 = L.FusedMultiplyAdd(a, z, s30);
                s31 = L.FusedMultiplyAdd(b, z, s31);
                s32 = L.FusedMultiplyAdd(c, z, s32);
                s33 = L.FusedMultiplyAdd(d, z, s33);
                s34 = L.FusedMultiplyAdd(e, z, s34);
            }

            if (Y.Value > 4)
            {
                z = T.Load<L>(y4 + offset);
                s40 = L.FusedMultiplyAdd(a, z, s40);
                s41 = L.FusedMultiplyAdd(b, z, s41);
                s42 = L.FusedMultiplyAdd(c, z, s42);
                s43 = L.FusedMultiplyAdd(d, z, s43);
                s44 = L.FusedMultiplyAdd(e, z, s44);
            }

        }

        StoreFive(s00, s01, s02, s03, s04, t0, stride);
        if (Y.Value > 1)
            StoreFive(s10, s11, s12, s13, s14, t1, stride);
        if (Y.Value > 2)
            StoreFive(s20, s21, s22, s23, s24, t2, stride);
        if (Y.Value > 3)
            StoreFive(s30, s31, s32, s33, s34, t3, stride);
        if (Y.Value > 4)
            StoreFive(s40, s41, s42, s43, s44, t4, stride);
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
    private static void GramTriangle<T, Y>(byte** x, nint shift, nint step, int steps, double* sums, int k, nint stride, Lines lines)
        where T : struct, IElement
        where Y : struct, ICount
    {
        byte* x0 = x[0] + shift, x1 = Y.Value > 1 ? x[1] + shift : null, x2 = Y.Value > 2 ? x[2] + shift : null, x3 = Y.Value > 3 ? x[3] + shift : null, x4 = Y.Value > 4 ? x[4] + shift : null;
        nint one = (k + 1) * stride, two = (2 * k + 3) * stride, three = (3 * k + 6) * stride, four = (4 * k + 10) * stride;
        double* t1 = sums + one, t2 = sums + two, t3 = sums + three, t4 = sums + four;
        L zero = L.Broadcast(0);
        L s00 = L.Load(sums);
        L s10 = zero, s11 = zero;
        L s20 = zero, s21 = zero, s22 = zero;
        L s30 = zero, s31 = zero, s32 = zero, s33 = zero;
        L s40 = zero, s41 = zero, s42 = zero, s43 = zero, s44 = zero;
        if (Y.Value > 1)
            (s10, s11) = (L.Load(t1), L.Load(t1 + stride));
        if (Y.Value > 2)
            (s20, s21, s22) = (L.Load(t2), L.Load(t2 + stride), L.Load(t2 + 2 * stride));
        if (Y.Value > 3)
            (s30, s31, s32, s33) = (L.Load(t3), L.Load(t3 + stride), L.Load(t3 + 2 * stride), L.Load(t3 + 3 * stride));
        if (Y.Value > 4)
            (s40, s41, s42, s43, s44) = (L.Load(t4), L.Load(t4 + stride), L.Load(t4 + 2 * stride), L.Load(t4 + 3 * stride), L.Load(t4 + 4 * stride));
        byte* p = lines.P, q = lines.Q;
        nint offset = 0;
        for (int i = 0; i < steps; i++, offset += step, p += lines.PStep, q += lines.QStep)
        {
            Ask(p);
            Ask(q);
            L a = T.Load<L>(x0 + offset), b = zero, c = zero, d = zero;
            s00 = L.FusedMultiplyAdd(a, a, s00);
            if (Y.Value > 1)
            {
                b = T.Load<L>(x1 + offset);
                s10 = L.FusedMultiplyAdd(a, b, s10);
                s11 = L.FusedMultiplyAdd(b, b, s11);
            }

            if (Y.Value > 2)
            {
                c = T.Load<L>(x2 + offset);
                s20 = L.FusedMultiplyAdd(a, c, s20);
                s21 = L.FusedMultiplyAdd(b, c, s21);
                s22 = L.FusedMultiplyAdd(c, c, s22);
            }

            if (Y.Value > 3)
            {
                d = T.Load<L>(x3 + offset);
                s30 = L.FusedMultiplyAdd(a, d, s30);
                s31 = L.FusedMultiplyAdd(b, d, s31);
                s32 = L.FusedMultiplyAdd(c, d, s32);
                s33 = L.FusedMultiplyAdd(d, d, s33);
            }

            if (Y.Value > 4)
            {
                L e = T.Load<L>(x4 + offset);
                s40 = L.FusedMultiplyAdd(a, e, s40);
                s41 = L.FusedMultiplyAdd(b, e, s41);
                s42 = L.FusedMultiplyAdd(c, e, s42);
                s43 = L.FusedMultiplyAdd(d, e, s43);
                s44 = L.FusedMultiplyAdd(e, e, s44);
            }

        }

        L.Store(s00, sums);
        if (Y.Value > 1)
        {
            L.Store(s10, t1);
            L.Store(s11, t1 + stride);
        }

        if (Y.Value > 2)
        {
            L.Store(s20, t2);
            L.Store(s21, t2 + stride);
            L.Store(s22, t2 + 2 * stride);
        }

        if (Y.Value > 3)
        {
            L.Store(s30, t3);
            L.Store(s31, t3 + stride);
            L.Store(s32, t3 + 2 * stride);
            L.Store(s33, t3 + 3 * stride);
        }

        if (Y.Value > 4)
        {
            L.Store(s40, t4);
            L.Store(s41, t4 + stride);
            L.Store(s42, t4 + 2 * stride);
            L.Store(s43, t4 + 3 * stride);
            L.Store(s44, t4 + 4 * stride);
        }
    }
}
