using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using FedICU.Compute.Reference;
using FedICU.Compute.Simd;
using FedICU.Memory;

namespace FedICU.Compute;

// WeightedSum and Combine: linear combinations of the inputs.
public sealed unsafe partial class SimdBackend
{
    /// <summary>
    /// Columns whose coefficients stay in the L1 or L2 cache while all rows are read. Measured (docs/adr/0008).
    /// </summary>
    private const int StripeColumns = 1024;

    /// <inheritdoc/>
    public long WeightedSum(
        ReadOnlySpan<TensorPanel> inputs, ReadOnlySpan<double> weights, double divisor, int length, TensorPanel output)
    {
        ScalarMath.CheckInputs(inputs.Length, weights.Length);
        double scale = SumScale.Of(inputs, weights, divisor);
        if (scale != 1 && SumScale.Overwrites(inputs, output))
            return WeightedSumOutOfPlace(inputs, weights, divisor, length, output);
        fixed (double* first = weights)
        {
            var oneRow = new PanelGeometry(1, length, GroupsAreColumns: false);
            long nonFinite = Combine(inputs, oneRow, new GroupValues(first, 1), null, divisor, output, null);
            return nonFinite == 0 || scale == 1 ? nonFinite : SumScale.Repair(inputs, weights, divisor, scale, length, output);
        }
    }

    /// <summary>Writes to other memory first, as an element that is computed again needs its inputs.</summary>
    private long WeightedSumOutOfPlace(
        ReadOnlySpan<TensorPanel> inputs, ReadOnlySpan<double> weights, double divisor, int length, TensorPanel output)
    {
        long bytes = (long)length * (output.DType.BitSize / 8);
        using var result = new NativeBuffer(bytes);
        long nonFinite = WeightedSum(inputs, weights, divisor, length, new TensorPanel(result.Pointer, output.DType));
        Buffer.MemoryCopy(result.Pointer, output.Data, bytes, bytes);
        return nonFinite;
    }

    /// <inheritdoc/>
    public long Combine(
        ReadOnlySpan<TensorPanel> inputs, PanelGeometry geometry, GroupValues coefficients, double* scales, TensorPanel output,
        double* squares)
    {
        ScalarMath.CheckInputs(inputs.Length, inputs.Length);
        return Combine(inputs, geometry, coefficients, scales, 1, output, squares);
    }

    private long Combine(
        ReadOnlySpan<TensorPanel> inputs, PanelGeometry geometry, GroupValues coefficients, double* scales, double divisor,
        TensorPanel output, double* squares) => Width switch
        {
            512 => Combine<Lanes512>(inputs, geometry, coefficients, scales, divisor, output, squares),
            256 => Combine<Lanes256>(inputs, geometry, coefficients, scales, divisor, output, squares),
            _ => Combine<Lanes128>(inputs, geometry, coefficients, scales, divisor, output, squares),
        };

    private static long Combine<L>(
        ReadOnlySpan<TensorPanel> inputs, PanelGeometry geometry, GroupValues coefficients, double* scales, double divisor,
        TensorPanel output, double* squares)
        where L : unmanaged, ILanes<L>
    {
        // the usual case writes from registers to the output, without a tile: only the output is asked for, the inputs
        // are few and of one type
        bool isPlain = squares == null && output.Data != null && inputs.Length <= MaxStreams && CountSameType(inputs, 0) == inputs.Length;
        return !isPlain ? CombineTiles<L>(inputs, geometry, coefficients, scales, divisor, output, squares)
            : (inputs[0].DType, output.DType) switch
            {
                (DType.F64, DType.F64) => CombinePlain<L, F64, F64>(inputs, geometry, coefficients, scales, divisor, output),
                (DType.F32, DType.F32) => CombinePlain<L, F32, F32>(inputs, geometry, coefficients, scales, divisor, output),
                (DType.F16, DType.F16) => CombinePlain<L, F16, F16>(inputs, geometry, coefficients, scales, divisor, output),
                (DType.BF16, DType.BF16) => CombinePlain<L, BF16, BF16>(inputs, geometry, coefficients, scales, divisor, output),
                (DType.F32, DType.F64) => CombinePlain<L, F32, F64>(inputs, geometry, coefficients, scales, divisor, output),
                (DType.F16, DType.F64) => CombinePlain<L, F16, F64>(inputs, geometry, coefficients, scales, divisor, output),
                (DType.BF16, DType.F64) => CombinePlain<L, BF16, F64>(inputs, geometry, coefficients, scales, divisor, output),
                (DType.F64, DType.F32) => CombinePlain<L, F64, F32>(inputs, geometry, coefficients, scales, divisor, output),
                (DType.F64, DType.F16) => CombinePlain<L, F64, F16>(inputs, geometry, coefficients, scales, divisor, output),
                (DType.F64, DType.BF16) => CombinePlain<L, F64, BF16>(inputs, geometry, coefficients, scales, divisor, output),
                _ => CombineTiles<L>(inputs, geometry, coefficients, scales, divisor, output, null),
            };
    }

    private static long CombinePlain<L, E, O>(
        ReadOnlySpan<TensorPanel> inputs, PanelGeometry geometry, GroupValues coefficients, double* scales, double divisor,
        TensorPanel result)
        where L : unmanaged, ILanes<L>
        where E : struct, IElement
        where O : struct, IElement
    {
        byte* output = (byte*)result.Data;
        nint columns = geometry.Columns;
        long nonFinite = 0;
        fixed (TensorPanel* panels = inputs)
        {
            var terms = new Terms
            {
                Inputs = panels,
                Count = inputs.Length,
                Coefficients = coefficients.Data,
                Stride = (nint)coefficients.Stride,
                Scales = scales,
                Divisor = divisor,
            };
            if (!geometry.GroupsAreColumns)
            {
                for (int row = 0; row < geometry.Rows; row++, terms.Advance(1))
                {
                    nonFinite += CombineRow<L, E, O, RowCoefficient<L>>(
                        terms, row * columns * E.Size, geometry.Columns, output + row * columns * O.Size);
                }

                return nonFinite;
            }

            for (int column = 0; column < geometry.Columns; column += StripeColumns, terms.Advance(StripeColumns))
            {
                nint first = column;
                int count = Math.Min(StripeColumns, geometry.Columns - column);
                for (int row = 0; row < geometry.Rows; row++, first += columns)
                    nonFinite += CombineRow<L, E, O, ColumnCoefficients<L>>(terms, first * E.Size, count, output + first * O.Size);
            }

            return nonFinite;
        }
    }

    /// <summary>The terms of a linear combination, from one group on.</summary>
    private struct Terms
    {
        public TensorPanel* Inputs;
        public int Count;

        /// <summary>
        /// The group's coefficient of the first input; the next input's is <see cref="Stride"/> later.
        /// </summary>
        public double* Coefficients;

        public nint Stride;

        /// <summary>The group's factor of the sum; null if there are no factors.</summary>
        public double* Scales;

        public double Divisor;

        public void Advance(int groups)
        {
            Coefficients += groups;
            Scales += Scales == null ? 0 : groups;
        }
    }

    /// <summary>
    /// Computes output[i] = round(scale[i] * (sum over k of c_k[i] * x_k[i]) / divisor) for one row, which begins
    /// <paramref name="offset"/> bytes into each input.
    /// </summary>
    [MethodImpl(Kernel)]
    private static long CombineRow<L, E, O, C>(in Terms terms, nint offset, int count, byte* output)
        where L : unmanaged, ILanes<L>
        where E : struct, IElement
        where O : struct, IElement
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
                Prefetch<E>(x, 4 * Lanes);
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

            // no call in between: all registers would be saved around it
            byte* y = output + i * O.Size;
            Vector256<uint> unserved = O.StoreFast(s0, y) | O.StoreFast(s1, y + Lanes * O.Size) | O.StoreFast(s2, y + 2 * Lanes * O.Size)
                | O.StoreFast(s3, y + 3 * Lanes * O.Size);
            if (unserved != Vector256<uint>.Zero)
            {
                L.Store(s0, sums);
                L.Store(s1, sums + Lanes);
                L.Store(s2, sums + 2 * Lanes);
                L.Store(s3, sums + 3 * Lanes);
                nonFinite += RoundAny<L, O>(sums, 1, y, 4 * Lanes);
            }
        }

        return i < count ? nonFinite + CombineRest<L, E, O, C>(terms, offset, i, count, output) : nonFinite;
    }

    /// <summary>Computes a row from element <paramref name="start"/> to its end.</summary>
    [MethodImpl(Kernel | MethodImplOptions.NoInlining)]
    private static long CombineRest<L, E, O, C>(in Terms terms, nint offset, nint start, int count, byte* output)
        where L : unmanaged, ILanes<L>
        where E : struct, IElement
        where O : struct, IElement
        where C : struct, ICoefficients<C, L>
    {
        double* sums = stackalloc double[Lanes];
        long nonFinite = 0;
        nint i = start;
        for (; i <= count - Lanes; i += Lanes)
        {
            L sum = L.Broadcast(-0.0);
            for (int k = 0; k < terms.Count; k++)
            {
                L x = E.Load<L>((byte*)terms.Inputs[k].Data + (offset + i * E.Size));
                sum = L.FusedMultiplyAdd(C.From(terms.Coefficients + k * terms.Stride).At(i), x, sum);
            }

            if (terms.Scales != null)
                sum = L.Multiply(C.From(terms.Scales).At(i), sum);
            L.Store(sum, sums);
            nonFinite += RoundAny<L, O>(sums, terms.Divisor, output + i * O.Size, Lanes);
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
            nonFinite += RoundAny<L, O>(sums, terms.Divisor, output + i * O.Size, rest);
        }

        return nonFinite;
    }
}
