using System.Runtime.CompilerServices;

namespace FedICU.Compute;

// Linear combinations of the inputs: WeightedSum and Combine.
internal sealed unsafe partial class SimdVerbs<L>
{
    public long WeightedSum(ReadOnlySpan<TensorPanel> inputs, ReadOnlySpan<double> weights, double divisor, int length, TensorPanel output)
    {
        ScalarMath.CheckInputs(inputs.Length, weights.Length);
        fixed (double* first = weights)
            return Combine(inputs, new PanelGeometry(1, length, GroupsAreColumns: false), new GroupValues(first, 1), divisor, output, null);
    }

    public long Combine(ReadOnlySpan<TensorPanel> inputs, PanelGeometry geometry, GroupValues coefficients, TensorPanel output, double* squares)
    {
        ScalarMath.CheckInputs(inputs.Length, inputs.Length);
        return Combine(inputs, geometry, coefficients, 1, output, squares);
    }

    [SkipLocalsInit]
    private static long Combine(
        ReadOnlySpan<TensorPanel> inputs, PanelGeometry geometry, GroupValues coefficients, double divisor, TensorPanel output, double* squares)
    {
        byte* storage = stackalloc byte[Tile * sizeof(double) + Slack];
        double* tile = Align(storage);
        bool columns = geometry.GroupsAreColumns;
        long nonFinite = 0;
        for (int row = 0; row < geometry.Rows; row++)
        {
            L lanes = L.Broadcast(0);
            for (int column = 0; column < geometry.Columns; column += Tile)
            {
                int count = Math.Min(Tile, geometry.Columns - column);
                long offset = (long)row * geometry.Columns + column;
                Mix(inputs, coefficients, columns, columns ? column : row, offset, tile, count);
                if (output.Data != null)
                    nonFinite += Finish(tile, divisor, output, offset, count);
                if (squares != null && columns)
                    SquareRows<F64>((byte*)tile, 0, 1, squares + column, count);
                else if (squares != null)
                    lanes = SquareTile(lanes, tile, count);
            }

            if (squares != null && !columns)
                squares[row] += L.Sum(lanes);
        }

        return nonFinite;
    }

    /// <summary>tile[i] = sum over k of c[k, group or group + i] * x_k[offset + i]. The tile is written up to a multiple of eight.</summary>
    private static void Mix(
        ReadOnlySpan<TensorPanel> inputs, GroupValues coefficients, bool columns, int group, long offset, double* tile, int count)
    {
        for (int k = 0; k < inputs.Length;)
        {
            k += inputs[k].DType switch
            {
                DType.F64 => Mix<F64>(inputs, k, coefficients, columns, group, offset, tile, count),
                DType.F32 => Mix<F32>(inputs, k, coefficients, columns, group, offset, tile, count),
                DType.F16 => Mix<F16>(inputs, k, coefficients, columns, group, offset, tile, count),
                DType.BF16 => Mix<BF16>(inputs, k, coefficients, columns, group, offset, tile, count),
                DType other => throw Rounding.NotComputed(other),
            };
        }
    }

    private static int Mix<E>(
        ReadOnlySpan<TensorPanel> inputs, int k, GroupValues coefficients, bool columns, int group, long offset, double* tile, int count)
        where E : struct, IElement
    {
        Inputs some = Take(inputs, k, offset, E.Size);
        double* first = coefficients.Row(k) + group;
        if (columns)
            Mix<E, ColumnCoefficients<L>>(some, first, coefficients.Stride, k == 0, tile, count);
        else
            Mix<E, RowCoefficient<L>>(some, first, coefficients.Stride, k == 0, tile, count);
        return some.Count;
    }

    /// <summary>
    /// Adds up to four products to the tile. The first product of all is plain: the same as fused with -0, which adds nothing to any number and
    /// keeps the sign of a zero.
    /// </summary>
    [MethodImpl(Kernel)]
    private static void Mix<E, C>(Inputs inputs, double* coefficients, long stride, bool begin, double* tile, int count)
        where E : struct, IElement
        where C : struct, ICoefficients<C, L>
    {
        int m = inputs.Count;
        byte* x0 = inputs.X0, x1 = inputs.X1, x2 = inputs.X2, x3 = inputs.X3;
        C c0 = C.From(coefficients);
        C c1 = C.From(coefficients + (m > 1 ? stride : 0));
        C c2 = C.From(coefficients + (m > 2 ? 2 * stride : 0));
        C c3 = C.From(coefficients + (m > 3 ? 3 * stride : 0));
        nint i = 0;
        for (; i <= count - Lanes; i += Lanes)
        {
            L sum = begin ? L.Broadcast(-0.0) : L.Load(tile + i);
            sum = L.FusedMultiplyAdd(c0.At(i), Stream<E>(x0 + i * E.Size), sum);
            if (m > 1)
                sum = L.FusedMultiplyAdd(c1.At(i), Stream<E>(x1 + i * E.Size), sum);
            if (m > 2)
                sum = L.FusedMultiplyAdd(c2.At(i), Stream<E>(x2 + i * E.Size), sum);
            if (m > 3)
                sum = L.FusedMultiplyAdd(c3.At(i), Stream<E>(x3 + i * E.Size), sum);
            L.Store(sum, tile + i);
        }

        if (i < count)
            MixRest<E, C>(inputs, coefficients, stride, begin, tile, i, count - (int)i);
    }

    /// <summary>The last elements of <see cref="Mix{E, C}"/>, apart from it so that its loop keeps all it needs in registers.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void MixRest<E, C>(Inputs inputs, double* coefficients, long stride, bool begin, double* tile, nint i, int rest)
        where E : struct, IElement
        where C : struct, ICoefficients<C, L>
    {
        L sum = begin ? L.Broadcast(-0.0) : L.Load(tile + i);
        for (int j = 0; j < inputs.Count; j++)
            sum = L.FusedMultiplyAdd(C.From(coefficients + j * stride).Rest(i, rest), Partial<L>.Load<E>(inputs[j] + i * E.Size, rest), sum);
        L.Store(sum, tile + i);
    }

    private static long Finish(double* tile, double divisor, TensorPanel output, long offset, int count)
    {
        byte* target = (byte*)output.Data;
        return output.DType switch
        {
            DType.F64 => Finish<F64>(tile, divisor, target + offset * sizeof(double), count),
            DType.F32 => Finish<F32>(tile, divisor, target + offset * sizeof(float), count),
            DType.F16 => Finish<F16>(tile, divisor, target + offset * sizeof(ushort), count),
            DType.BF16 => Finish<BF16>(tile, divisor, target + offset * sizeof(ushort), count),
            _ => throw Rounding.NotComputed(output.DType),
        };
    }

    /// <summary>Divides, rounds and writes a tile; returns how many elements written are not finite.</summary>
    [MethodImpl(Kernel)]
    private static long Finish<E>(double* tile, double divisor, byte* output, int count) where E : struct, IElement
    {
        L limit = L.Broadcast(E.Limit), by = L.Broadcast(divisor);
        bool divide = divisor != 1;
        long nonFinite = 0;
        nint i = 0;
        for (; i <= count - Lanes; i += Lanes)
        {
            L y = L.Load(tile + i);
            if (divide)
                y = L.Divide(y, by);
            if (L.LessThanBits(L.Abs(y), limit) == 0xFF)
                E.StoreFinite(y, output + i * E.Size);
            else
                nonFinite += FinishSome<E>(tile + i, divisor, output + i * E.Size, Lanes);
        }

        return i < count ? nonFinite + FinishSome<E>(tile + i, divisor, output + i * E.Size, count - (int)i) : nonFinite;
    }

    /// <summary>The same for up to eight elements, finite or not.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static long FinishSome<E>(double* tile, double divisor, byte* output, int count) where E : struct, IElement
    {
        L y = L.Divide(L.Load(tile), L.Broadcast(divisor));
        Partial<L>.Store<E>(y, output, count);
        return count - uint.PopCount(L.LessThanBits(L.Abs(y), L.Broadcast(E.Limit)) & (1u << count) - 1);
    }

    /// <summary>Adds a tile's squares to lanes.</summary>
    [MethodImpl(Kernel)]
    private static L SquareTile(L lanes, double* tile, int count)
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
}
