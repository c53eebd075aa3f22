using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics.X86;
using FedICU.Compute.Simd;

namespace FedICU.Compute;

// AddGram: the inner products of all pairs of inputs. The products read each element many times, so a tile of all
// inputs is brought into the L1 cache first, with the sums of a few of its pairs.
public sealed unsafe partial class SimdBackend
{
    /// <summary>Columns of a tile. Chosen: a cache line of float32.</summary>
    private const int GramColumns = 2 * Lanes;

    /// <summary>
    /// Bytes of the sums of a stripe of columns. Chosen: they stay in the L2 cache while all rows are read.
    /// </summary>
    private const int SumBytes = 256 << 10;

    /// <summary>
    /// Bytes of a tile of float64. Chosen: stays in the L1 cache beside the sums. Higher tiles lose more than they save
    /// (docs/adr/0008).
    /// </summary>
    private const int TileBytes = 26 << 10;

    /// <summary>
    /// The largest number of rows of a tile. Derived: a panel of ten inputs with 4096 columns has 20 rows and is one
    /// tile high.
    /// </summary>
    private const int MaxGramRows = 20;

    /// <summary>Tiles from the one that is worked on to the one that is prefetched. Measured.</summary>
    private const int TilesAhead = 4;

    /// <summary>
    /// Elements of a row that are widened at once, if rows are groups. Chosen: ten inputs take 40 KiB of float64.
    /// </summary>
    private const int RowStripe = 64 * Lanes;

    /// <inheritdoc/>
    public void AddGram(ReadOnlySpan<TensorPanel> inputs, PanelGeometry geometry, GroupValues grams)
    {
        if (inputs.Length == 0 || geometry.Length == 0)
            return;
        switch (Width)
        {
            case 512: AddGram<Lanes512>(inputs, geometry, grams); break;
            case 256: AddGram<Lanes256>(inputs, geometry, grams); break;
            default: AddGram<Lanes128>(inputs, geometry, grams); break;
        }
    }

    private static void AddGram<L>(ReadOnlySpan<TensorPanel> inputs, PanelGeometry geometry, GroupValues grams)
        where L : unmanaged, ILanes<L>
    {
        int n = inputs.Length, pairs = GramPairs.Count(n);
        if (!geometry.GroupsAreColumns && geometry.Columns <= RowStripe && n > MaxStreams)
        {
            GramOfShortRows<L>(inputs, geometry, grams);
            return;
        }

        int rows = geometry.GroupsAreColumns ? GetTileRows(geometry.Rows, n) : 1;
        int columns = geometry.GroupsAreColumns ? GramColumns : RowStripe;
        // a tile, sums of one tile's columns, and for each input the address of its part of the tile
        long count = n * (rows * columns + 1L) + checked(pairs * GramColumns);
        double* memory = (double*)NativeMemory.AlignedAlloc((nuint)count * sizeof(double), Slack);
        try
        {
            var tileSums = new GroupValues(memory + n * rows * columns, GramColumns);
            byte** starts = (byte**)tileSums.Row(pairs);
            if (geometry.GroupsAreColumns)
                GramOfColumns<L>(inputs, geometry, grams, (byte*)memory, rows, tileSums, starts);
            else
                GramOfRows<L>(inputs, geometry, grams, memory, tileSums, starts);
        }
        finally
        {
            NativeMemory.AlignedFree(memory);
        }
    }

    /// <summary>
    /// Returns the rows of a tile. All tiles are about as high: a low last tile would load its sums for few products.
    /// </summary>
    private static int GetTileRows(int rows, int inputs)
    {
        int max = Math.Clamp(TileBytes / (inputs * GramColumns * sizeof(double)), 1, MaxGramRows);
        int tiles = (rows + max - 1) / max;
        return (rows + tiles - 1) / tiles;
    }

    private static void GramOfColumns<L>(
        ReadOnlySpan<TensorPanel> inputs, PanelGeometry geometry, GroupValues grams, byte* tile, int tileRows, GroupValues tileSums,
        byte** starts)
        where L : unmanaged, ILanes<L>
    {
        // float32 holds the narrower types exactly, in half the room; with few registers, widening at each product
        // takes longer than the product
        bool isWide = HasFewRegisters<L>();
        foreach (TensorPanel input in inputs)
            isWide |= input.DType == DType.F64;
        if (isWide)
            GramOfColumns<L, F64>(inputs, geometry, grams, tile, tileRows, tileSums, starts);
        else
            GramOfColumns<L, F32>(inputs, geometry, grams, tile, tileRows, tileSums, starts);
    }

    private static void GramOfColumns<L, T>(
        ReadOnlySpan<TensorPanel> inputs, PanelGeometry geometry, GroupValues grams, byte* tile, int tileRows, GroupValues tileSums,
        byte** starts)
        where L : unmanaged, ILanes<L>
        where T : struct, IElement
    {
        int n = inputs.Length, columns = geometry.Columns;
        // A tile is read where it is, in the panels, if they are of the tile's type. Rows whose distance is a multiple
        // of a large power of two would evict each other from the cache: they are copied.
        int rowBytes = columns * T.Size;
        bool canReadInPlace = (rowBytes & -rowBytes) <= 256;
        foreach (TensorPanel input in inputs)
            canReadInPlace &= input.DType.BitSize == 8 * T.Size;
        int width = (int)Math.Max(SumBytes / ((long)GramPairs.Count(n) * sizeof(double)) / GramColumns, 1) * GramColumns;
        for (int start = 0; start < columns; start += width)
        {
            int end = Math.Min(start + width, columns);
            for (int row = 0; row < geometry.Rows; row += tileRows)
            {
                int rows = Math.Min(tileRows, geometry.Rows - row);
                for (int column = start; column < end; column += GramColumns)
                {
                    int count = Math.Min(GramColumns, end - column);
                    bool isInPlace = canReadInPlace && count == GramColumns;
                    nint step = isInPlace ? columns * T.Size : n * GramColumns * T.Size;
                    long offset = (long)row * columns + column;
                    for (int k = 0; k < n; k++)
                    {
                        starts[k] = isInPlace ? (byte*)inputs[k].Data + offset * T.Size : tile + k * GramColumns * T.Size;
                        if (!isInPlace)
                            CopyToTile<L, T>(inputs[k], offset, columns, rows, count, starts[k], step);
                    }

                    // the tile some steps to the right, or at the left of the next rows
                    int next = column + TilesAhead * GramColumns, nextRow = next < end ? row : row + rows;
                    var prefetcher = new TilePrefetcher
                    {
                        Offset = (long)nextRow * columns + (next < end ? next : Math.Min(start + next - end, columns - 1)),
                        Columns = nextRow < geometry.Rows ? columns : 0,
                    };
                    // the sums of fewer columns than a tile has are copied, so that nothing is read or written past
                    // their end
                    GroupValues sums = count == GramColumns ? new GroupValues(grams.Data + column, grams.Stride) : tileSums;
                    if (count < GramColumns)
                        CopySums(grams, column, tileSums, 0, count, n);
                    AddTile<L, T>(starts, step, rows, GramColumns / Lanes, sums, inputs, prefetcher);
                    if (count < GramColumns)
                        CopySums(tileSums, 0, grams, column, count, n);
                }
            }
        }
    }

    /// <summary>Copies an input's part of a tile, in a type that holds it exactly.</summary>
    private static void CopyToTile<L, T>(TensorPanel input, long offset, int columns, int rows, int count, byte* target, nint step)
        where L : unmanaged, ILanes<L>
        where T : struct, IElement
    {
        byte* data = (byte*)input.Data;
        switch (input.DType)
        {
            case DType.F64: CopyToTile<L, F64, T>(data + offset * sizeof(double), columns, rows, count, target, step); break;
            case DType.F32: CopyToTile<L, F32, T>(data + offset * sizeof(float), columns, rows, count, target, step); break;
            case DType.F16: CopyToTile<L, F16, T>(data + offset * sizeof(ushort), columns, rows, count, target, step); break;
            case DType.BF16: CopyToTile<L, BF16, T>(data + offset * sizeof(ushort), columns, rows, count, target, step); break;
            default: throw Rounding.NotComputed(input.DType);
        }
    }

    /// <summary>Copies rows of a tile, with zeros after fewer columns than it has.</summary>
    [MethodImpl(Kernel)]
    private static void CopyToTile<L, E, T>(byte* x, nint columns, int rows, int count, byte* target, nint step)
        where L : unmanaged, ILanes<L>
        where E : struct, IElement
        where T : struct, IElement
    {
        for (int row = 0; row < rows; row++, x += columns * E.Size, target += step)
        {
            if (typeof(E) == typeof(T) && count == GramColumns)
            {
                Unsafe.CopyBlockUnaligned(target, x, (uint)(GramColumns * T.Size));
                continue;
            }

            T.StoreFinite(count >= Lanes ? E.Load<L>(x) : Partial<L>.Load<E>(x, count), target);
            byte* y = x + Lanes * E.Size;
            L second = count == GramColumns ? E.Load<L>(y) : count > Lanes ? Partial<L>.Load<E>(y, count - Lanes) : L.Broadcast(0);
            T.StoreFinite(second, target + Lanes * T.Size);
        }
    }

    private static void CopySums(GroupValues from, int fromGroup, GroupValues to, int toGroup, int count, int inputs)
    {
        for (int pair = 0; pair < GramPairs.Count(inputs); pair++)
            new Span<double>(from.Row(pair) + fromGroup, count).CopyTo(new Span<double>(to.Row(pair) + toGroup, count));
    }

    private static void GramOfRows<L>(
        ReadOnlySpan<TensorPanel> inputs, PanelGeometry geometry, GroupValues grams, double* stripe, GroupValues lanes, byte** starts)
        where L : unmanaged, ILanes<L>
    {
        int pairs = GramPairs.Count(inputs.Length);
        for (int row = 0; row < geometry.Rows; row++)
        {
            new Span<double>(lanes.Data, pairs * GramColumns).Clear();
            for (int start = 0; start < geometry.Columns; start += RowStripe)
            {
                int count = Math.Min(RowStripe, geometry.Columns - start);
                for (int k = 0; k < inputs.Length; k++)
                {
                    starts[k] = (byte*)(stripe + k * RowStripe);
                    WidenToTile<L>(inputs[k], (long)row * geometry.Columns + start, count, stripe + k * RowStripe);
                }

                AddTile<L, F64>(starts, Lanes * sizeof(double), (count + Lanes - 1) / Lanes, 1, lanes, inputs, default);
            }

            for (int pair = 0; pair < pairs; pair++)
                grams.Row(pair)[row] += L.Sum(L.Load(lanes.Row(pair)));
        }
    }

    /// <summary>Does the same for many inputs whose rows are one stripe: no lanes are kept between stripes.</summary>
    private static void GramOfShortRows<L>(ReadOnlySpan<TensorPanel> inputs, PanelGeometry geometry, GroupValues grams)
        where L : unmanaged, ILanes<L>
    {
        var block = new PairBlock(inputs.Length, (geometry.Columns + Lanes - 1) / Lanes * Lanes);
        try
        {
            for (int row = 0; row < geometry.Rows; row++)
            {
                block.Load<L>(inputs, row * geometry.Columns, geometry.Columns);
                AddPairTerms<L, ProductTerm>(block, new GroupValues(grams.Data + row, grams.Stride));
            }
        }
        finally
        {
            block.Dispose();
        }
    }

    /// <summary>
    /// Prefetches a later tile, one line or two of each row at every step of the products: the CPU drops prefetches
    /// that are issued all at once.
    /// </summary>
    private struct TilePrefetcher
    {
        public long Offset;
        public nint Columns;
        public int Input;

        /// <summary>
        /// Returns the first line of the next input and the distance of its rows. Returns <paramref name="cached"/>,
        /// which is in the cache, if no input is left.
        /// </summary>
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public byte* Next(ReadOnlySpan<TensorPanel> inputs, byte* cached, out nint step)
        {
            step = 0;
            if (Columns == 0 || Input == inputs.Length)
                return cached;
            nint size = inputs[Input].DType.BitSize / 8;
            step = Columns * size;
            return (byte*)inputs[Input++].Data + Offset * size;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void PrefetchLine(byte* line)
    {
        if (Sse.IsSupported)
            Sse.Prefetch0(line);
    }
}
