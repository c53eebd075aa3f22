using System.Numerics.Tensors;
using System.Runtime.CompilerServices;
using FedICU.Compute.Simd;

namespace FedICU.Compute;

// Linear combinations through a tile of float64 sums: for many inputs, inputs of several types, and squares of the
// sums.
public sealed unsafe partial class SimdBackend
{
    /// <summary>
    /// Elements of a tile of one row whose sums stay in the L2 cache: 64 KiB of float64. Measured (docs/adr/0008): long
    /// runs of each of many inputs save more than sums in the L1 cache would.
    /// </summary>
    private const int SumElements = 8192;

    /// <summary>
    /// Combines any number of inputs of any types: adds a few inputs at a time to a tile of sums, which stays in a
    /// cache.
    /// </summary>
    [SkipLocalsInit]
    private static long CombineTiles<L>(
        ReadOnlySpan<TensorPanel> inputs, PanelGeometry geometry, GroupValues coefficients, double* scales, double divisor,
        TensorPanel output, double* squares)
        where L : unmanaged, ILanes<L>
    {
        byte* storage = stackalloc byte[SumElements * sizeof(double) + Slack];
        double* tile = Align(storage);
        long nonFinite = 0;
        for (int row = 0, rows; row < geometry.Rows; row += rows)
        {
            rows = Part.RowsFrom(geometry, row);
            L lanes = L.Broadcast(0);
            for (int column = 0; column < geometry.Columns;)
            {
                var part = new Part(geometry, row, rows, column, geometry.GroupsAreColumns ? TileElements : SumElements);
                CombineToTile<L>(inputs, coefficients, part, tile);
                if (squares != null && geometry.GroupsAreColumns)
                    SquareRows<L, F64>((byte*)tile, TileColumns * sizeof(double), rows, squares + column, part.Count);
                else if (squares != null)
                    lanes = AddTileSquares(lanes, tile, part.Count);
                for (int r = 0; r < rows && output.Data != null; r++)
                {
                    double* sums = tile + r * TileColumns;
                    if (scales != null)
                        ScaleTile(sums, scales + part.Group, part);
                    nonFinite += RoundTile<L>(sums, divisor, output, part.Offset + r * part.Step, part.Count);
                }

                column += part.Count;
            }

            if (squares != null && !geometry.GroupsAreColumns)
                squares[row] += L.Sum(lanes);
        }

        return nonFinite;
    }

    /// <summary>
    /// Computes tile[r, i] = sum over k of c[k, group] * x_k[r, i]. Writes each row of the tile up to a multiple of
    /// eight.
    /// </summary>
    private static void CombineToTile<L>(ReadOnlySpan<TensorPanel> inputs, GroupValues coefficients, in Part part, double* tile)
        where L : unmanaged, ILanes<L>
    {
        for (int k = 0; k < inputs.Length;)
        {
            k += inputs[k].DType switch
            {
                DType.F64 => CombineToTile<L, F64>(inputs, k, coefficients, part, tile),
                DType.F32 => CombineToTile<L, F32>(inputs, k, coefficients, part, tile),
                DType.F16 => CombineToTile<L, F16>(inputs, k, coefficients, part, tile),
                DType.BF16 => CombineToTile<L, BF16>(inputs, k, coefficients, part, tile),
                DType other => throw Rounding.NotComputed(other),
            };
        }
    }

    /// <summary>
    /// Adds the inputs from k on that are of type E, at most <see cref="MaxStreams"/> rows of them; returns how many
    /// inputs.
    /// </summary>
    private static int CombineToTile<L, E>(ReadOnlySpan<TensorPanel> inputs, int k, GroupValues coefficients, in Part part, double* tile)
        where L : unmanaged, ILanes<L>
        where E : struct, IElement
    {
        ReadOnlySpan<TensorPanel> some = inputs.Slice(k, Math.Min(CountSameType(inputs, k), MaxStreams / part.Rows));
        var first = new GroupValues(coefficients.Row(k) + part.Group, coefficients.Stride);
        if (part.Rows > 1)
            CombineRowsToTile<L, E>(some, first, part, k == 0, tile);
        else if (part.GroupsAreColumns)
            CombineToTile<L, E, ColumnCoefficients<L>>(some, first, part, k == 0, tile);
        else
            CombineToTile<L, E, RowCoefficient<L>>(some, first, part, k == 0, tile);
        return some.Length;
    }

    /// <summary>Adds inputs to a tile of one row, or begins its sums with them.</summary>
    [MethodImpl(Kernel)]
    private static void CombineToTile<L, E, C>(
        ReadOnlySpan<TensorPanel> inputs, GroupValues coefficients, in Part part, bool begin, double* tile)
        where L : unmanaged, ILanes<L>
        where E : struct, IElement
        where C : struct, ICoefficients<C, L>
    {
        int count = part.Count;
        L zero = L.Broadcast(-0.0);
        nint i = 0;
        for (; i <= count - 4 * Lanes; i += 4 * Lanes)
        {
            double* t = tile + i;
            L s0 = zero, s1 = zero, s2 = zero, s3 = zero;
            if (!begin)
            {
                s0 = L.Load(t);
                s1 = L.Load(t + Lanes);
                s2 = L.Load(t + 2 * Lanes);
                s3 = L.Load(t + 3 * Lanes);
            }

            double* coefficient = coefficients.Data;
            for (int k = 0; k < inputs.Length; k++, coefficient += coefficients.Stride)
            {
                byte* x = (byte*)inputs[k].Data + (part.Offset + i) * E.Size;
                C c = C.From(coefficient);
                s0 = L.FusedMultiplyAdd(c.At(i), LoadAndPrefetch<L, E>(x), s0);
                s1 = L.FusedMultiplyAdd(c.At(i + Lanes), LoadAndPrefetch<L, E>(x + Lanes * E.Size), s1);
                s2 = L.FusedMultiplyAdd(c.At(i + 2 * Lanes), LoadAndPrefetch<L, E>(x + 2 * Lanes * E.Size), s2);
                s3 = L.FusedMultiplyAdd(c.At(i + 3 * Lanes), LoadAndPrefetch<L, E>(x + 3 * Lanes * E.Size), s3);
            }

            L.Store(s0, t);
            L.Store(s1, t + Lanes);
            L.Store(s2, t + 2 * Lanes);
            L.Store(s3, t + 3 * Lanes);
        }

        CombineRestToTile<L, E, C>(inputs, coefficients, part, begin, tile, i);
    }

    /// <summary>Adds inputs to a tile of four rows. Each column's coefficient is loaded once for all of them.</summary>
    [MethodImpl(Kernel)]
    private static void CombineRowsToTile<L, E>(
        ReadOnlySpan<TensorPanel> inputs, GroupValues coefficients, in Part part, bool begin, double* tile)
        where L : unmanaged, ILanes<L>
        where E : struct, IElement
    {
        int count = part.Count;
        nint step = part.Step * E.Size;
        L zero = L.Broadcast(-0.0);
        nint i = 0;
        // sixteen registers hold the sums of eight columns, thirty-two those of sixteen
        int columns = HasFewRegisters<L>() ? Lanes : 2 * Lanes;
        for (; i <= count - columns; i += columns)
        {
            double* t = tile + i;
            L s0 = zero, s1 = zero, s2 = zero, s3 = zero;
            L u0 = zero, u1 = zero, u2 = zero, u3 = zero;
            if (!begin)
            {
                s0 = L.Load(t);
                s1 = L.Load(t + TileColumns);
                s2 = L.Load(t + 2 * TileColumns);
                s3 = L.Load(t + 3 * TileColumns);
                if (!HasFewRegisters<L>())
                {
                    u0 = L.Load(t + Lanes);
                    u1 = L.Load(t + Lanes + TileColumns);
                    u2 = L.Load(t + Lanes + 2 * TileColumns);
                    u3 = L.Load(t + Lanes + 3 * TileColumns);
                }
            }

            double* coefficient = coefficients.Data + i;
            for (int k = 0; k < inputs.Length; k++, coefficient += coefficients.Stride)
            {
                byte* x = (byte*)inputs[k].Data + (part.Offset + i) * E.Size, y = x + 2 * step;
                L c = L.Load(coefficient);
                s0 = L.FusedMultiplyAdd(c, LoadAndPrefetch<L, E>(x), s0);
                s1 = L.FusedMultiplyAdd(c, LoadAndPrefetch<L, E>(x + step), s1);
                s2 = L.FusedMultiplyAdd(c, LoadAndPrefetch<L, E>(y), s2);
                s3 = L.FusedMultiplyAdd(c, LoadAndPrefetch<L, E>(y + step), s3);
                if (!HasFewRegisters<L>())
                {
                    L d = L.Load(coefficient + Lanes);
                    u0 = L.FusedMultiplyAdd(d, E.Load<L>(x + Lanes * E.Size), u0);
                    u1 = L.FusedMultiplyAdd(d, E.Load<L>(x + step + Lanes * E.Size), u1);
                    u2 = L.FusedMultiplyAdd(d, E.Load<L>(y + Lanes * E.Size), u2);
                    u3 = L.FusedMultiplyAdd(d, E.Load<L>(y + step + Lanes * E.Size), u3);
                }
            }

            L.Store(s0, t);
            L.Store(s1, t + TileColumns);
            L.Store(s2, t + 2 * TileColumns);
            L.Store(s3, t + 3 * TileColumns);
            if (!HasFewRegisters<L>())
            {
                L.Store(u0, t + Lanes);
                L.Store(u1, t + Lanes + TileColumns);
                L.Store(u2, t + Lanes + 2 * TileColumns);
                L.Store(u3, t + Lanes + 3 * TileColumns);
            }
        }

        CombineRestToTile<L, E, ColumnCoefficients<L>>(inputs, coefficients, part, begin, tile, i);
    }

    /// <summary>Adds the elements of each row from <paramref name="start"/> to its end.</summary>
    [MethodImpl(Kernel | MethodImplOptions.NoInlining)]
    private static void CombineRestToTile<L, E, C>(
        ReadOnlySpan<TensorPanel> inputs, GroupValues coefficients, in Part part, bool begin, double* tile, nint start)
        where L : unmanaged, ILanes<L>
        where E : struct, IElement
        where C : struct, ICoefficients<C, L>
    {
        for (int row = 0; row < part.Rows; row++)
        {
            for (nint i = start; i < part.Count; i += Lanes)
            {
                double* t = tile + row * TileColumns + i;
                int rest = Math.Min(Lanes, part.Count - (int)i);
                long offset = part.Offset + row * part.Step + i;
                L sum = begin ? L.Broadcast(-0.0) : L.Load(t);
                for (int k = 0; k < inputs.Length; k++)
                {
                    byte* x = (byte*)inputs[k].Data + offset * E.Size;
                    C c = C.From(coefficients.Row(k));
                    sum = rest == Lanes
                        ? L.FusedMultiplyAdd(c.At(i), E.Load<L>(x), sum)
                        : L.FusedMultiplyAdd(c.Rest(i, rest), Partial<L>.Load<E>(x, rest), sum);
                }

                L.Store(sum, t);
            }
        }
    }

    /// <summary>Multiplies a row of a tile by its groups' scales.</summary>
    private static void ScaleTile(double* tile, double* scales, in Part part)
    {
        var row = new Span<double>(tile, part.Count);
        if (part.GroupsAreColumns)
            TensorPrimitives.Multiply(new ReadOnlySpan<double>(scales, part.Count), row, row);
        else
            TensorPrimitives.Multiply(row, *scales, row);
    }

    /// <summary>Adds the squares of a tile's elements to eight sums.</summary>
    [MethodImpl(Kernel)]
    private static L AddTileSquares<L>(L lanes, double* tile, int count)
        where L : unmanaged, ILanes<L>
    {
        nint i = 0;
        for (; i <= count - Lanes; i += Lanes)
        {
            L y = L.Load(tile + i);
            lanes = L.FusedMultiplyAdd(y, y, lanes);
        }

        if (i < count)
        {
            L y = Partial<L>.First(L.Load(tile + i), count - (int)i);
            lanes = L.FusedMultiplyAdd(y, y, lanes);
        }

        return lanes;
    }

    /// <summary>Counts the inputs from k on that are of the type of input k.</summary>
    private static int CountSameType(ReadOnlySpan<TensorPanel> inputs, int k)
    {
        int count = 1;
        while (k + count < inputs.Length && inputs[k + count].DType == inputs[k].DType)
            count++;
        return count;
    }
}
