using System.Runtime.CompilerServices;
using FedICU.Compute.Reference;

namespace FedICU.Compute.Simd;

// Sums over the elements of groups, and of all: AddSquares and AddProjections.
internal sealed unsafe partial class SimdVerbs<L>
{
    public void AddSquares(ReadOnlySpan<TensorPanel> inputs, PanelGeometry geometry, GroupValues sums)
    {
        for (int k = 0; k < inputs.Length;)
        {
            k += inputs[k].DType switch
            {
                DType.F64 => AddSquares<F64>(inputs, k, geometry, sums),
                DType.F32 => AddSquares<F32>(inputs, k, geometry, sums),
                DType.F16 => AddSquares<F16>(inputs, k, geometry, sums),
                DType.BF16 => AddSquares<BF16>(inputs, k, geometry, sums),
                DType other => throw Rounding.NotComputed(other),
            };
        }
    }

    private static int AddSquares<E>(ReadOnlySpan<TensorPanel> inputs, int k, PanelGeometry geometry, GroupValues sums)
        where E : struct, IElement
    {
        if (geometry.GroupsAreColumns)
        {
            nint bytes = (nint)geometry.Columns * E.Size;
            for (int row = 0; row < geometry.Rows; row += RowsAbreast)
            {
                int rows = Math.Min(RowsAbreast, geometry.Rows - row);
                SquareRows<E>((byte*)inputs[k].Data + row * bytes, bytes, rows, sums.Row(k), geometry.Columns);
            }

            return 1;
        }

        Inputs some = Take(inputs, k, 0, E.Size);
        SquareGroups<E>(some, geometry.Rows, geometry.Columns, sums.Row(k), sums.Stride);
        return some.Count;
    }

    /// <summary>sums[c] = fma(x, x, sums[c]) for up to four rows, in their order.</summary>
    [MethodImpl(Kernel)]
    private static void SquareRows<E>(byte* x, nint rowBytes, int rows, double* sums, int columns) where E : struct, IElement
    {
        byte* x1 = x + (rows > 1 ? rowBytes : 0), x2 = x + (rows > 2 ? 2 * rowBytes : 0), x3 = x + (rows > 3 ? 3 * rowBytes : 0);
        nint i = 0;
        for (; i <= columns - Lanes; i += Lanes)
        {
            L y = Stream<E>(x + i * E.Size);
            L sum = L.FusedMultiplyAdd(y, y, L.Load(sums + i));
            if (rows > 1)
            {
                y = Stream<E>(x1 + i * E.Size);
                sum = L.FusedMultiplyAdd(y, y, sum);
            }

            if (rows > 2)
            {
                y = Stream<E>(x2 + i * E.Size);
                sum = L.FusedMultiplyAdd(y, y, sum);
            }

            if (rows > 3)
            {
                y = Stream<E>(x3 + i * E.Size);
                sum = L.FusedMultiplyAdd(y, y, sum);
            }

            L.Store(sum, sums + i);
        }

        if (i < columns)
            SquareRowsRest<E>(x + i * E.Size, rowBytes, rows, sums + i, columns - (int)i);
    }

    /// <summary>The last columns of <see cref="SquareRows{E}"/>.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void SquareRowsRest<E>(byte* x, nint rowBytes, int rows, double* sums, int rest) where E : struct, IElement
    {
        L sum = Partial<L>.Load<F64>((byte*)sums, rest);
        for (int row = 0; row < rows; row++)
        {
            L y = Partial<L>.Load<E>(x + row * rowBytes, rest);
            sum = L.FusedMultiplyAdd(y, y, sum);
        }

        Partial<L>.Store<F64>(sum, (byte*)sums, rest);
    }

    /// <summary>sums[k * stride + r] += reduce8 of the squares of row r, for up to four inputs.</summary>
    [MethodImpl(Kernel)]
    private static void SquareGroups<E>(Inputs inputs, int rows, int columns, double* sums, long stride) where E : struct, IElement
    {
        int m = inputs.Count;
        byte* x0 = inputs.X0, x1 = inputs.X1, x2 = inputs.X2, x3 = inputs.X3;
        nint bytes = (nint)columns * E.Size;
        for (int row = 0; row < rows; row++)
        {
            L s0 = L.Broadcast(0), s1 = s0, s2 = s0, s3 = s0;
            nint i = 0;
            for (; i <= columns - Lanes; i += Lanes)
            {
                L y = Stream<E>(x0 + i * E.Size);
                s0 = L.FusedMultiplyAdd(y, y, s0);
                if (m > 1)
                {
                    y = Stream<E>(x1 + i * E.Size);
                    s1 = L.FusedMultiplyAdd(y, y, s1);
                }

                if (m > 2)
                {
                    y = Stream<E>(x2 + i * E.Size);
                    s2 = L.FusedMultiplyAdd(y, y, s2);
                }

                if (m > 3)
                {
                    y = Stream<E>(x3 + i * E.Size);
                    s3 = L.FusedMultiplyAdd(y, y, s3);
                }
            }

            var lanes = new FourLanes { A = s0, B = s1, C = s2, D = s3 };
            if (i < columns)
                SquareRest<E>(inputs, row * bytes + i * E.Size, columns - (int)i, (L*)&lanes);
            lanes.AddTo(sums + row, stride, m);
            x0 += bytes;
            x1 += bytes;
            x2 += bytes;
            x3 += bytes;
        }
    }

    /// <summary>The last elements of a row of <see cref="SquareGroups{E}"/>.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void SquareRest<E>(Inputs inputs, nint offset, int rest, L* lanes) where E : struct, IElement
    {
        for (int j = 0; j < inputs.Count; j++)
        {
            L y = Partial<L>.Load<E>(inputs[j] + offset, rest);
            lanes[j] = L.FusedMultiplyAdd(y, y, lanes[j]);
        }
    }

    [SkipLocalsInit]
    public void AddProjections(ReadOnlySpan<TensorPanel> inputs, PanelGeometry geometry, GroupValues a, GroupValues b, Span<double> dots)
    {
        ScalarMath.CheckSums(inputs.Length, dots.Length);
        byte* storage = stackalloc byte[TileElements * sizeof(double) + Slack];
        double* tile = Align(storage);
        for (int row = 0, rows; row < geometry.Rows; row += rows)
        {
            rows = Part.RowsFrom(geometry, row);
            for (int column = 0; column < geometry.Columns;)
            {
                var part = new Part(geometry, row, rows, column);
                Mix(inputs, b, part, tile);
                for (int k = 0; k < inputs.Length; k++)
                {
                    dots[k] += inputs[k].DType switch
                    {
                        DType.F64 => Project<F64>(inputs[k], a.Row(k), part, tile),
                        DType.F32 => Project<F32>(inputs[k], a.Row(k), part, tile),
                        DType.F16 => Project<F16>(inputs[k], a.Row(k), part, tile),
                        DType.BF16 => Project<BF16>(inputs[k], a.Row(k), part, tile),
                        DType other => throw Rounding.NotComputed(other),
                    };
                }

                column += part.Count;
            }
        }
    }

    private static double Project<E>(TensorPanel input, double* a, in Part part, double* tile) where E : struct, IElement
    {
        byte* x = (byte*)input.Data + part.Offset * E.Size;
        return part.GroupsAreColumns
            ? Project<E, ColumnCoefficients<L>>(x, a + part.Group, part, tile)
            : Project<E, RowCoefficient<L>>(x, a + part.Group, part, tile);
    }

    /// <summary>The part's reduce8 of fma(a[i], p, lane), p being the sum over the rows of x[r, i] * tile[r, i].</summary>
    [MethodImpl(Kernel)]
    private static double Project<E, C>(byte* x, double* a, in Part part, double* tile)
        where E : struct, IElement
        where C : struct, ICoefficients<C, L>
    {
        C c = C.From(a);
        int count = part.Count;
        bool rows = part.Rows > 1;
        nint step = part.Step * E.Size;
        L sum = L.Broadcast(0);
        nint i = 0;
        for (; i <= count - Lanes; i += Lanes)
        {
            byte* y = x + i * E.Size;
            double* t = tile + i;
            L product = L.Multiply(E.Load<L>(y), L.Load(t));
            if (rows)
            {
                product = L.FusedMultiplyAdd(E.Load<L>(y + step), L.Load(t + PartColumns), product);
                product = L.FusedMultiplyAdd(E.Load<L>(y + 2 * step), L.Load(t + 2 * PartColumns), product);
                product = L.FusedMultiplyAdd(E.Load<L>(y + 3 * step), L.Load(t + 3 * PartColumns), product);
            }

            sum = L.FusedMultiplyAdd(c.At(i), product, sum);
        }

        return L.Sum(i < count ? ProjectRest<E, C>(x + i * E.Size, a, part, tile, i, count - (int)i, sum) : sum);
    }

    /// <summary>The last elements of <see cref="Project{E, C}"/>. Lanes past the end take 0 * 0, whatever a coefficient times nothing would be.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static L ProjectRest<E, C>(byte* x, double* a, in Part part, double* tile, nint i, int rest, L sum)
        where E : struct, IElement
        where C : struct, ICoefficients<C, L>
    {
        L product = L.Broadcast(-0.0);
        for (int row = 0; row < part.Rows; row++)
            product = L.FusedMultiplyAdd(Partial<L>.Load<E>(x + row * part.Step * E.Size, rest), L.Load(tile + row * PartColumns + i), product);
        return L.FusedMultiplyAdd(Partial<L>.First(C.From(a).Rest(i, rest), rest), Partial<L>.First(product, rest), sum);
    }

    /// <summary>The lanes of up to four inputs, out of their registers.</summary>
    private struct FourLanes
    {
        public L A, B, C, D;

        public readonly void AddTo(double* sums, long stride, int count)
        {
            *sums += L.Sum(A);
            if (count > 1)
                sums[stride] += L.Sum(B);
            if (count > 2)
                sums[2 * stride] += L.Sum(C);
            if (count > 3)
                sums[3 * stride] += L.Sum(D);
        }
    }
}
