using System.Numerics.Tensors;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using FedICU.Compute.Reference;
using FedICU.Memory;

namespace FedICU.Compute.Simd;

// Linear combinations of the inputs: WeightedSum and Combine.
internal sealed unsafe partial class SimdVerbs<L>
{
    public long WeightedSum(ReadOnlySpan<TensorPanel> inputs, ReadOnlySpan<double> weights, double divisor, int length, TensorPanel output)
    {
        ScalarMath.CheckInputs(inputs.Length, weights.Length);
        double scale = SumScale.Of(inputs, weights, divisor);
        if (scale != 1 && SumScale.Overwrites(inputs, output))
            return WeightedSumBeside(inputs, weights, divisor, length, output);
        fixed (double* first = weights)
        {
            long nonFinite = Combine(inputs, new PanelGeometry(1, length, GroupsAreColumns: false), new GroupValues(first, 1), null, divisor, output, null);
            return nonFinite == 0 || scale == 1 ? nonFinite : SumScale.Repair(inputs, weights, divisor, scale, length, output);
        }
    }

    /// <summary>The same in other memory first: an element that is computed again needs its inputs.</summary>
    private long WeightedSumBeside(ReadOnlySpan<TensorPanel> inputs, ReadOnlySpan<double> weights, double divisor, int length, TensorPanel output)
    {
        long bytes = (long)length * (output.DType.BitSize / 8);
        using var made = new NativeBuffer(bytes);
        long nonFinite = WeightedSum(inputs, weights, divisor, length, new TensorPanel(made.Pointer, output.DType));
        Buffer.MemoryCopy(made.Pointer, output.Data, bytes, bytes);
        return nonFinite;
    }

    public long Combine(ReadOnlySpan<TensorPanel> inputs, PanelGeometry geometry, GroupValues coefficients, double* scales, TensorPanel output, double* squares)
    {
        ScalarMath.CheckInputs(inputs.Length, inputs.Length);
        return Combine(inputs, geometry, coefficients, scales, 1, output, squares);
    }

    private static long Combine(
        ReadOnlySpan<TensorPanel> inputs, PanelGeometry geometry, GroupValues coefficients, double* scales, double divisor, TensorPanel output, double* squares)
    {
        // the usual case goes from registers to the output: few enough inputs for the processor to follow, all of the output's type
        bool plain = squares == null && output.Data != null && inputs.Length <= MostAbreast && inputs[0].DType == output.DType && SameType(inputs, 0) == inputs.Length;
        if (!plain)
            return CombineTiles(inputs, geometry, coefficients, scales, divisor, output, squares);
        return output.DType switch
        {
            DType.F64 => CombinePlain<F64>(inputs, geometry, coefficients, scales, divisor, (byte*)output.Data),
            DType.F32 => CombinePlain<F32>(inputs, geometry, coefficients, scales, divisor, (byte*)output.Data),
            DType.F16 => CombinePlain<F16>(inputs, geometry, coefficients, scales, divisor, (byte*)output.Data),
            DType.BF16 => CombinePlain<BF16>(inputs, geometry, coefficients, scales, divisor, (byte*)output.Data),
            _ => throw Rounding.NotComputed(output.DType),
        };
    }

    /// <summary>Columns whose coefficients stay near, in the first cache or at the head of the second, while all rows go by.</summary>
    private const int StripeColumns = 1024;

    private static long CombinePlain<E>(ReadOnlySpan<TensorPanel> inputs, PanelGeometry geometry, GroupValues coefficients, double* scales, double divisor, byte* output)
        where E : struct, IElement
    {
        nint bytes = (nint)geometry.Columns * E.Size;
        long nonFinite = 0;
        fixed (TensorPanel* first = inputs)
        {
            var terms = new Terms { Inputs = first, Count = inputs.Length, Coefficients = coefficients.Data, Stride = (nint)coefficients.Stride, Scales = scales, Divisor = divisor };
            if (!geometry.GroupsAreColumns)
            {
                for (int row = 0; row < geometry.Rows; row++, terms.Advance(1))
                    nonFinite += CombineRow<E, RowCoefficient<L>>(terms, row * bytes, geometry.Columns, output + row * bytes);
                return nonFinite;
            }

            for (int column = 0; column < geometry.Columns; column += StripeColumns, terms.Advance(StripeColumns))
            {
                nint offset = column * E.Size;
                for (int row = 0; row < geometry.Rows; row++, offset += bytes)
                    nonFinite += CombineRow<E, ColumnCoefficients<L>>(terms, offset, Math.Min(StripeColumns, geometry.Columns - column), output + offset);
            }

            return nonFinite;
        }
    }

    /// <summary>What is summed: inputs, the coefficient of the first group for each, what the sum is multiplied with (null: nothing) and divided by.</summary>
    private struct Terms
    {
        public TensorPanel* Inputs;
        public int Count;
        public double* Coefficients, Scales;
        public nint Stride;
        public double Divisor;

        public void Advance(int groups)
        {
            Coefficients += groups;
            Scales += Scales == null ? 0 : groups;
        }
    }

    /// <summary>output[i] = round((sum over k of c_k[i] * x_k[i]) / divisor) for one row, which begins <paramref name="offset"/> bytes into each input.</summary>
    [MethodImpl(Kernel)]
    private static long CombineRow<E, C>(in Terms terms, nint offset, int count, byte* output)
        where E : struct, IElement
        where C : struct, ICoefficients<C, L>
    {
        TensorPanel* inputs = terms.Inputs;
        int n = terms.Count;
        nint stride = terms.Stride;
        L zero = L.Broadcast(-0.0), divisor = L.Broadcast(terms.Divisor);
        bool divide = terms.Divisor != 1;
        long nonFinite = 0;
        double* sums = stackalloc double[4 * Lanes];
        nint i = 0;
        for (; i <= count - 4 * Lanes; i += 4 * Lanes)
        {
            L s0 = zero, s1 = zero, s2 = zero, s3 = zero;
            double* coefficient = terms.Coefficients;
            for (int k = 0; k < n; k++, coefficient += stride)
            {
                byte* x = (byte*)inputs[k].Data + (offset + i * E.Size);
                Fetch<E>(x, 4 * Lanes);
                C c = C.From(coefficient);
                s0 = L.FusedMultiplyAdd(c.At(i), E.Load<L>(x), s0);
                s1 = L.FusedMultiplyAdd(c.At(i + Lanes), E.Load<L>(x + Lanes * E.Size), s1);
                s2 = L.FusedMultiplyAdd(c.At(i + 2 * Lanes), E.Load<L>(x + 2 * Lanes * E.Size), s2);
                s3 = L.FusedMultiplyAdd(c.At(i + 3 * Lanes), E.Load<L>(x + 3 * Lanes * E.Size), s3);
            }

            if (terms.Scales != null)
            {
                C scale = C.From(terms.Scales);
                s0 = L.Multiply(scale.At(i), s0);
                s1 = L.Multiply(scale.At(i + Lanes), s1);
                s2 = L.Multiply(scale.At(i + 2 * Lanes), s2);
                s3 = L.Multiply(scale.At(i + 3 * Lanes), s3);
            }

            if (divide)
            {
                s0 = L.Divide(s0, divisor);
                s1 = L.Divide(s1, divisor);
                s2 = L.Divide(s2, divisor);
                s3 = L.Divide(s3, divisor);
            }

            // no call between them, around which all registers would be saved
            byte* y = output + i * E.Size;
            Vector256<uint> others = E.StoreShort(s0, y) | E.StoreShort(s1, y + Lanes * E.Size) | E.StoreShort(s2, y + 2 * Lanes * E.Size) | E.StoreShort(s3, y + 3 * Lanes * E.Size);
            if (others != Vector256<uint>.Zero)
            {
                L.Store(s0, sums);
                L.Store(s1, sums + Lanes);
                L.Store(s2, sums + 2 * Lanes);
                L.Store(s3, sums + 3 * Lanes);
                nonFinite += FinishSome<E>(sums, 1, y, 4 * Lanes);
            }
        }

        return i < count ? nonFinite + CombineRest<E, C>(terms, offset, i, count, output) : nonFinite;
    }

    /// <summary>What is left of a row from element <paramref name="start"/> on.</summary>
    [MethodImpl(Kernel | MethodImplOptions.NoInlining)]
    private static long CombineRest<E, C>(in Terms terms, nint offset, nint start, int count, byte* output)
        where E : struct, IElement
        where C : struct, ICoefficients<C, L>
    {
        double* sums = stackalloc double[Lanes];
        long nonFinite = 0;
        nint i = start;
        for (; i <= count - Lanes; i += Lanes)
        {
            L sum = L.Broadcast(-0.0);
            for (int k = 0; k < terms.Count; k++)
                sum = L.FusedMultiplyAdd(C.From(terms.Coefficients + k * terms.Stride).At(i), E.Load<L>((byte*)terms.Inputs[k].Data + (offset + i * E.Size)), sum);
            if (terms.Scales != null)
                sum = L.Multiply(C.From(terms.Scales).At(i), sum);
            L.Store(sum, sums);
            nonFinite += FinishSome<E>(sums, terms.Divisor, output + i * E.Size, Lanes);
        }

        if (i < count)
        {
            int rest = count - (int)i;
            L sum = L.Broadcast(-0.0);
            for (int k = 0; k < terms.Count; k++)
            {
                L x = Partial<L>.Load<E>((byte*)terms.Inputs[k].Data + (offset + i * E.Size), rest);
                sum = L.FusedMultiplyAdd(C.From(terms.Coefficients + k * terms.Stride).Rest(i, rest), x, sum);
            }

            if (terms.Scales != null)
                sum = L.Multiply(C.From(terms.Scales).Rest(i, rest), sum);
            L.Store(sum, sums);
            nonFinite += FinishSome<E>(sums, terms.Divisor, output + i * E.Size, rest);
        }

        return nonFinite;
    }

    /// <summary>Any number of inputs of any types: sums of a tile of elements, which stays in a cache, a few inputs at a time.</summary>
    [SkipLocalsInit]
    private static long CombineTiles(
        ReadOnlySpan<TensorPanel> inputs, PanelGeometry geometry, GroupValues coefficients, double* scales, double divisor, TensorPanel output, double* squares)
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
                Mix(inputs, coefficients, part, tile);
                if (squares != null && geometry.GroupsAreColumns)
                    SquareRows<F64>((byte*)tile, PartColumns * sizeof(double), rows, squares + column, part.Count);
                else if (squares != null)
                    lanes = SquareTile(lanes, tile, part.Count);
                for (int r = 0; r < rows && output.Data != null; r++)
                {
                    double* sums = tile + r * PartColumns;
                    if (scales != null)
                        Scale(sums, scales + part.Group, part);
                    nonFinite += Finish(sums, divisor, output, part.Offset + r * part.Step, part.Count);
                }

                column += part.Count;
            }

            if (squares != null && !geometry.GroupsAreColumns)
                squares[row] += L.Sum(lanes);
        }

        return nonFinite;
    }

    /// <summary>tile[r, i] = sum over k of c[k, group] * x_k[r, i]. Each row of the tile is written up to a multiple of eight.</summary>
    private static void Mix(ReadOnlySpan<TensorPanel> inputs, GroupValues coefficients, in Part part, double* tile)
    {
        for (int k = 0; k < inputs.Length;)
        {
            k += inputs[k].DType switch
            {
                DType.F64 => Mix<F64>(inputs, k, coefficients, part, tile),
                DType.F32 => Mix<F32>(inputs, k, coefficients, part, tile),
                DType.F16 => Mix<F16>(inputs, k, coefficients, part, tile),
                DType.BF16 => Mix<BF16>(inputs, k, coefficients, part, tile),
                DType other => throw Rounding.NotComputed(other),
            };
        }
    }

    private static int Mix<E>(ReadOnlySpan<TensorPanel> inputs, int k, GroupValues coefficients, in Part part, double* tile)
        where E : struct, IElement
    {
        ReadOnlySpan<TensorPanel> some = inputs.Slice(k, Math.Min(SameType(inputs, k), MostAbreast / part.Rows));
        var first = new GroupValues(coefficients.Row(k) + part.Group, coefficients.Stride);
        if (part.Rows > 1)
            MixRows<E>(some, first, part, k == 0, tile);
        else if (part.GroupsAreColumns)
            Mix<E, ColumnCoefficients<L>>(some, first, part, k == 0, tile);
        else
            Mix<E, RowCoefficient<L>>(some, first, part, k == 0, tile);
        return some.Length;
    }

    [MethodImpl(Kernel)]
    private static void Mix<E, C>(ReadOnlySpan<TensorPanel> inputs, GroupValues coefficients, in Part part, bool begin, double* tile)
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
                s0 = L.FusedMultiplyAdd(c.At(i), Stream<E>(x), s0);
                s1 = L.FusedMultiplyAdd(c.At(i + Lanes), Stream<E>(x + Lanes * E.Size), s1);
                s2 = L.FusedMultiplyAdd(c.At(i + 2 * Lanes), Stream<E>(x + 2 * Lanes * E.Size), s2);
                s3 = L.FusedMultiplyAdd(c.At(i + 3 * Lanes), Stream<E>(x + 3 * Lanes * E.Size), s3);
            }

            L.Store(s0, t);
            L.Store(s1, t + Lanes);
            L.Store(s2, t + 2 * Lanes);
            L.Store(s3, t + 3 * Lanes);
        }

        MixRest<E, C>(inputs, coefficients, part, begin, tile, i);
    }

    /// <summary>The same for four rows, so that each column's coefficient is fetched once for all of them.</summary>
    [MethodImpl(Kernel)]
    private static void MixRows<E>(ReadOnlySpan<TensorPanel> inputs, GroupValues coefficients, in Part part, bool begin, double* tile)
        where E : struct, IElement
    {
        int count = part.Count;
        nint step = part.Step * E.Size;
        L zero = L.Broadcast(-0.0);
        nint i = 0;
        // sixteen registers hold the sums of eight columns, others of sixteen
        int abreast = FewRegisters ? Lanes : 2 * Lanes;
        for (; i <= count - abreast; i += abreast)
        {
            double* t = tile + i;
            L s0 = zero, s1 = zero, s2 = zero, s3 = zero;
            L u0 = zero, u1 = zero, u2 = zero, u3 = zero;
            if (!begin)
            {
                s0 = L.Load(t);
                s1 = L.Load(t + PartColumns);
                s2 = L.Load(t + 2 * PartColumns);
                s3 = L.Load(t + 3 * PartColumns);
                if (!FewRegisters)
                {
                    u0 = L.Load(t + Lanes);
                    u1 = L.Load(t + Lanes + PartColumns);
                    u2 = L.Load(t + Lanes + 2 * PartColumns);
                    u3 = L.Load(t + Lanes + 3 * PartColumns);
                }
            }

            double* coefficient = coefficients.Data + i;
            for (int k = 0; k < inputs.Length; k++, coefficient += coefficients.Stride)
            {
                byte* x = (byte*)inputs[k].Data + (part.Offset + i) * E.Size, y = x + 2 * step;
                L c = L.Load(coefficient);
                s0 = L.FusedMultiplyAdd(c, Stream<E>(x), s0);
                s1 = L.FusedMultiplyAdd(c, Stream<E>(x + step), s1);
                s2 = L.FusedMultiplyAdd(c, Stream<E>(y), s2);
                s3 = L.FusedMultiplyAdd(c, Stream<E>(y + step), s3);
                if (!FewRegisters)
                {
                    L d = L.Load(coefficient + Lanes);
                    u0 = L.FusedMultiplyAdd(d, E.Load<L>(x + Lanes * E.Size), u0);
                    u1 = L.FusedMultiplyAdd(d, E.Load<L>(x + step + Lanes * E.Size), u1);
                    u2 = L.FusedMultiplyAdd(d, E.Load<L>(y + Lanes * E.Size), u2);
                    u3 = L.FusedMultiplyAdd(d, E.Load<L>(y + step + Lanes * E.Size), u3);
                }
            }

            L.Store(s0, t);
            L.Store(s1, t + PartColumns);
            L.Store(s2, t + 2 * PartColumns);
            L.Store(s3, t + 3 * PartColumns);
            if (!FewRegisters)
            {
                L.Store(u0, t + Lanes);
                L.Store(u1, t + Lanes + PartColumns);
                L.Store(u2, t + Lanes + 2 * PartColumns);
                L.Store(u3, t + Lanes + 3 * PartColumns);
            }
        }

        MixRest<E, ColumnCoefficients<L>>(inputs, coefficients, part, begin, tile, i);
    }

    /// <summary>What is left from element i on of each row.</summary>
    [MethodImpl(Kernel | MethodImplOptions.NoInlining)]
    private static void MixRest<E, C>(ReadOnlySpan<TensorPanel> inputs, GroupValues coefficients, in Part part, bool begin, double* tile, nint start)
        where E : struct, IElement
        where C : struct, ICoefficients<C, L>
    {
        for (int row = 0; row < part.Rows; row++)
        {
            for (nint i = start; i < part.Count; i += Lanes)
            {
                double* t = tile + row * PartColumns + i;
                int rest = Math.Min(Lanes, part.Count - (int)i);
                long offset = part.Offset + row * part.Step + i;
                L sum = begin ? L.Broadcast(-0.0) : L.Load(t);
                for (int k = 0; k < inputs.Length; k++)
                {
                    byte* x = (byte*)inputs[k].Data + offset * E.Size;
                    C c = C.From(coefficients.Row(k));
                    sum = rest == Lanes ? L.FusedMultiplyAdd(c.At(i), E.Load<L>(x), sum) : L.FusedMultiplyAdd(c.Rest(i, rest), Partial<L>.Load<E>(x, rest), sum);
                }

                L.Store(sum, t);
            }
        }
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
        L by = L.Broadcast(divisor);
        bool divide = divisor != 1;
        long nonFinite = 0;
        nint i = 0;
        for (; i <= count - Lanes; i += Lanes)
        {
            L y = L.Load(tile + i);
            if (divide)
                y = L.Divide(y, by);
            if (E.StoreShort(y, output + i * E.Size) != Vector256<uint>.Zero)
                nonFinite += FinishSome<E>(tile + i, divisor, output + i * E.Size, Lanes);
        }

        return i < count ? nonFinite + FinishSome<E>(tile + i, divisor, output + i * E.Size, count - (int)i) : nonFinite;
    }

    /// <summary>The same for a few elements of any kind. The tile has room up to a multiple of eight.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static long FinishSome<E>(double* tile, double divisor, byte* output, int count) where E : struct, IElement
    {
        long nonFinite = count;
        for (int i = 0; i < count; i += Lanes)
        {
            int some = Math.Min(Lanes, count - i);
            L y = L.Load(tile + i);
            if (divisor != 1)
                y = L.Divide(y, L.Broadcast(divisor));
            uint finite = L.LessThanBits(L.Abs(y), L.Broadcast(E.Limit)) & (1u << some) - 1;
            nonFinite -= uint.PopCount(finite);
            // means of equal weights are often halfway
            if (finite == 0xFF)
                E.StoreFinite(y, output + i * E.Size);
            else
                Partial<L>.Store<E>(y, output + i * E.Size, some);
        }

        return nonFinite;
    }

    /// <summary>A row of a tile times its groups' scales.</summary>
    private static void Scale(double* tile, double* scales, in Part part)
    {
        var row = new Span<double>(tile, part.Count);
        if (part.GroupsAreColumns)
            TensorPrimitives.Multiply(new ReadOnlySpan<double>(scales, part.Count), row, row);
        else
            TensorPrimitives.Multiply(row, *scales, row);
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
