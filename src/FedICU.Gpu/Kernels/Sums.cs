using FedICU.Compute;
using FedICU.Compute.Simd;
using ILGPU;
using ILGPU.Runtime;

namespace FedICU.Gpu.Kernels;

/// <summary>A panel's inputs on the device: where each begins, in bytes from the start of one memory.</summary>
internal struct DeviceInputs
{
    public ArrayView<byte> Data;
    public ArrayView<long> Offsets;

    public readonly int Count => (int)Offsets.Length;

    /// <summary>The place of an input's first element, counted in elements.</summary>
    public readonly long First<T>(int input) where T : struct, IElement => Offsets[input] >> T.Shift;

    public readonly double Read<T>(int input, long index) where T : struct, IElement => T.Read(Data, First<T>(input) + index);
}

/// <summary>A chunk's rows and columns.</summary>
internal struct DeviceGeometry
{
    public long Rows, Columns;

    /// <summary>-0, to which a product is added as it is. A number of the host's: as a constant of a kernel it loses its sign on the way to OpenCL.</summary>
    public double Nothing;
}

/// <summary>Which of rows and columns are groups; a value of input k and group g lies at k * groups + g. Known when a kernel is compiled: a value that rows share is read once.</summary>
internal interface IGroups
{
    static abstract bool AreRows { get; }
}

internal struct ByColumn : IGroups
{
    public static bool AreRows => false;
}

internal struct ByRow : IGroups
{
    public static bool AreRows => true;
}

/// <summary>
/// Sums without atomics, of which the device decides neither order nor bits: each thread has its own sum or its own place, and places are added one after the other.
/// </summary>
internal static class Sums
{
    /// <summary>Rows that one thread goes through; a part of the fixed reduction shape.</summary>
    public const int RowsOfThread = 64;

    /// <summary>Rows that are taken abreast.</summary>
    public const int Abreast = 4;

    /// <summary>output[i] = round(sum_k weights[k] x_k[i] / divisor) in the inputs' type, sixteen bytes at a time, and how many are not finite, by block.</summary>
    public static void WeightedSum<T>(DeviceInputs inputs, ArrayView<double> weights, double divisor, long length, ArrayView<byte> output, ArrayView<int> counts) where T : struct, IElement
    {
        int per = 16 / T.Size, nonFinite = 0;
        ArrayView<Words> words = inputs.Data.AsAligned(16).Cast<Words>(), written = output.AsAligned(16).Cast<Words>();
        long threads = (long)Grid.DimX * Group.DimX;
        for (long i = Grid.GlobalLinearIndex; i * per < length; i += threads)
        {
            Values x = T.Widen(words[(inputs.Offsets[0] >> 4) + i]);
            double weight = weights[0];
            var sum = new Values
            {
                V0 = weight * x.V0,
                V1 = weight * x.V1,
                V2 = weight * x.V2,
                V3 = weight * x.V3,
                V4 = weight * x.V4,
                V5 = weight * x.V5,
                V6 = weight * x.V6,
                V7 = weight * x.V7,
            };
            for (int k = 1; k < inputs.Count; k++)
            {
                x = T.Widen(words[(inputs.Offsets[k] >> 4) + i]);
                weight = weights[k];
                sum.V0 = DeviceMath.Fma(weight, x.V0, sum.V0);
                sum.V1 = DeviceMath.Fma(weight, x.V1, sum.V1);
                if (per > 2)
                {
                    sum.V2 = DeviceMath.Fma(weight, x.V2, sum.V2);
                    sum.V3 = DeviceMath.Fma(weight, x.V3, sum.V3);
                }

                if (per > 4)
                {
                    sum.V4 = DeviceMath.Fma(weight, x.V4, sum.V4);
                    sum.V5 = DeviceMath.Fma(weight, x.V5, sum.V5);
                    sum.V6 = DeviceMath.Fma(weight, x.V6, sum.V6);
                    sum.V7 = DeviceMath.Fma(weight, x.V7, sum.V7);
                }
            }

            sum.V0 /= divisor;
            sum.V1 /= divisor;
            if (per > 2)
            {
                sum.V2 /= divisor;
                sum.V3 /= divisor;
            }

            if (per > 4)
            {
                sum.V4 /= divisor;
                sum.V5 /= divisor;
                sum.V6 /= divisor;
                sum.V7 /= divisor;
            }

            Words rounded = T.Round(sum);
            written[i] = rounded;
            // as they were written: a finite sum may be too large for the type
            Values back = T.Widen(rounded);
            long left = length - i * per;
            nonFinite += Faults(back.V0, left > 0) + Faults(back.V1, left > 1);
            if (per > 2)
                nonFinite += Faults(back.V2, left > 2) + Faults(back.V3, left > 3);
            if (per > 4)
                nonFinite += Faults(back.V4, left > 4) + Faults(back.V5, left > 5) + Faults(back.V6, left > 6) + Faults(back.V7, left > 7);
        }

        Blocks.Sum(nonFinite, counts);
    }

    /// <summary>
    /// The same element by element, into another type; where the result is not finite, once more with weights and divisor times <paramref
    /// name="scale"/>.
    /// </summary>
    public static void WeightedSumTo<T, TOut>(
        DeviceInputs inputs, ArrayView<double> weights, double divisor, double scale, long length, ArrayView<byte> output, ArrayView<int> counts)
        where T : struct, IElement where TOut : struct, IElement
    {
        int nonFinite = 0;
        long threads = (long)Grid.DimX * Group.DimX;
        for (long i = Grid.GlobalLinearIndex; i < length; i += threads)
        {
            double mean = Mean<T>(inputs, weights, divisor, 1, i);
            if (!DeviceMath.IsFinite(mean) && scale != 1)
                mean = Mean<T>(inputs, weights, divisor, scale, i);
            nonFinite += TOut.Write(output, i, mean);
        }

        Blocks.Sum(nonFinite, counts);
    }

    /// <summary>
    /// Parts of the inner products of pairs of inputs in each column, of <see cref="RowsOfThread"/> rows: part (pair, rows, column) at
    /// (pair * parts + part) * columns + column.
    /// </summary>
    public static void PairsOfColumns<T>(DeviceInputs inputs, ArrayView<int> pairs, DeviceGeometry geometry, long parts, ArrayView<double> sums) where T : struct, IElement
    {
        long threads = (long)Grid.DimX * Group.DimX, columns = geometry.Columns;
        for (long i = Grid.GlobalLinearIndex; i < sums.Length; i += threads)
        {
            long column = i % columns, part = i / columns % parts, pair = i / columns / parts;
            int j = pairs[2 * pair], k = pairs[2 * pair + 1];
            long row = part * RowsOfThread, end = Math.Min(row + RowsOfThread, geometry.Rows), fromJ = inputs.First<T>(j), fromK = inputs.First<T>(k);
            double s0 = 0, s1 = 0, s2 = 0, s3 = 0;
            for (; row + Abreast <= end; row += Abreast)
            {
                long i0 = row * columns + column, i1 = i0 + columns, i2 = i1 + columns, i3 = i2 + columns;
                double x0 = T.Read(inputs.Data, fromK + i0), x1 = T.Read(inputs.Data, fromK + i1), x2 = T.Read(inputs.Data, fromK + i2), x3 = T.Read(inputs.Data, fromK + i3);
                double y0 = x0, y1 = x1, y2 = x2, y3 = x3;
                if (j != k)
                {
                    y0 = T.Read(inputs.Data, fromJ + i0);
                    y1 = T.Read(inputs.Data, fromJ + i1);
                    y2 = T.Read(inputs.Data, fromJ + i2);
                    y3 = T.Read(inputs.Data, fromJ + i3);
                }

                s0 = DeviceMath.Fma(y0, x0, s0);
                s1 = DeviceMath.Fma(y1, x1, s1);
                s2 = DeviceMath.Fma(y2, x2, s2);
                s3 = DeviceMath.Fma(y3, x3, s3);
            }

            for (; row < end; row++)
                s0 = DeviceMath.Fma(T.Read(inputs.Data, fromJ + row * columns + column), T.Read(inputs.Data, fromK + row * columns + column), s0);
            sums[i] = s0 + s1 + (s2 + s3);
        }
    }

    /// <summary>Parts of the inner products of pairs of inputs in each row, of every <paramref name="parts"/>-th column: part (pair, row, part) at (pair * rows + row) * parts + part.</summary>
    public static void PairsOfRows<T>(DeviceInputs inputs, ArrayView<int> pairs, DeviceGeometry geometry, long parts, ArrayView<double> sums) where T : struct, IElement
    {
        long threads = (long)Grid.DimX * Group.DimX;
        for (long i = Grid.GlobalLinearIndex; i < sums.Length; i += threads)
        {
            long part = i % parts, row = i / parts % geometry.Rows, pair = i / parts / geometry.Rows;
            int j = pairs[2 * pair], k = pairs[2 * pair + 1];
            double sum = 0;
            for (long column = part; column < geometry.Columns; column += parts)
            {
                long at = row * geometry.Columns + column;
                sum = DeviceMath.Fma(inputs.Read<T>(j, at), inputs.Read<T>(k, at), sum);
            }

            sums[i] = sum;
        }
    }

    /// <summary>
    /// Parts of the inner products of a_k x_k with t = sum_j b_j x_j, of <see cref="RowsOfThread"/> rows and every <paramref name="lanes"/>-th column: part (input, rows, lane) at
    /// (input * parts + part) * lanes + lane, set to 0 before.
    /// </summary>
    public static void Projections<T, TGroups>(DeviceInputs inputs, ArrayView<double> a, ArrayView<double> b, DeviceGeometry geometry, long parts, long lanes, ArrayView<double> sums)
        where T : struct, IElement where TGroups : struct, IGroups
    {
        long threads = (long)Grid.DimX * Group.DimX, columns = geometry.Columns, groups = TGroups.AreRows ? geometry.Rows : columns;
        for (long i = Grid.GlobalLinearIndex; i < parts * lanes; i += threads)
        {
            long lane = i % lanes, part = i / lanes, end = Math.Min((part + 1) * RowsOfThread, geometry.Rows);
            for (long column = lane; column < columns; column += lanes)
            {
                for (long row = part * RowsOfThread; row < end; row += Abreast)
                {
                    // rows beyond the end are the last one again, with nothing added for them
                    long r1 = Math.Min(row + 1, end - 1), r2 = Math.Min(row + 2, end - 1), r3 = Math.Min(row + 3, end - 1);
                    long i0 = row * columns + column, i1 = r1 * columns + column, i2 = r2 * columns + column, i3 = r3 * columns + column;
                    double t0 = geometry.Nothing, t1 = t0, t2 = t0, t3 = t0;
                    for (int k = 0; k < inputs.Count; k++)
                    {
                        long from = inputs.First<T>(k), group = k * groups + (TGroups.AreRows ? row : column);
                        double b0 = b[group], b1 = TGroups.AreRows ? b[group + r1 - row] : b0, b2 = TGroups.AreRows ? b[group + r2 - row] : b0, b3 = TGroups.AreRows ? b[group + r3 - row] : b0;
                        double x0 = T.Read(inputs.Data, from + i0), x1 = T.Read(inputs.Data, from + i1), x2 = T.Read(inputs.Data, from + i2), x3 = T.Read(inputs.Data, from + i3);
                        t0 = DeviceMath.Fma(b0, x0, t0);
                        t1 = DeviceMath.Fma(b1, x1, t1);
                        t2 = DeviceMath.Fma(b2, x2, t2);
                        t3 = DeviceMath.Fma(b3, x3, t3);
                    }

                    for (int k = 0; k < inputs.Count; k++)
                    {
                        long from = inputs.First<T>(k), group = k * groups + (TGroups.AreRows ? row : column), at = k * parts * lanes + i;
                        double a0 = a[group], a1 = TGroups.AreRows ? a[group + r1 - row] : a0, a2 = TGroups.AreRows ? a[group + r2 - row] : a0, a3 = TGroups.AreRows ? a[group + r3 - row] : a0;
                        double x0 = T.Read(inputs.Data, from + i0), x1 = T.Read(inputs.Data, from + i1), x2 = T.Read(inputs.Data, from + i2), x3 = T.Read(inputs.Data, from + i3);
                        double sum = DeviceMath.Fma(a0, x0 * t0, sums[at]);
                        sum = row + 1 < end ? DeviceMath.Fma(a1, x1 * t1, sum) : sum;
                        sum = row + 2 < end ? DeviceMath.Fma(a2, x2 * t2, sum) : sum;
                        sums[at] = row + 3 < end ? DeviceMath.Fma(a3, x3 * t3, sum) : sum;
                    }
                }
            }
        }
    }

    /// <summary>
    /// output = round(scale * y), y = sum_k c_k x_k; and where there is room for them, parts of the columns' sums of y^2, of <see cref="RowsOfThread"/> rows: part (rows, column) at
    /// part * columns + column.
    /// </summary>
    /// <param name="inputs">The inputs.</param>
    /// <param name="coefficients">Inputs x groups.</param>
    /// <param name="scales">A factor of each group; none where it is empty.</param>
    /// <param name="geometry">Rows, columns, groups.</param>
    /// <param name="parts">How often <see cref="RowsOfThread"/> rows.</param>
    /// <param name="output">Where y goes; nowhere where it is empty.</param>
    /// <param name="squares">Parts x columns; none where it is empty.</param>
    /// <param name="counts">How many outputs are not finite, by block.</param>
    public static void Combine<T, TOut, TGroups>(
        DeviceInputs inputs, ArrayView<double> coefficients, ArrayView<double> scales, DeviceGeometry geometry, long parts, ArrayView<byte> output, ArrayView<double> squares, ArrayView<int> counts)
        where T : struct, IElement where TOut : struct, IElement where TGroups : struct, IGroups
    {
        long threads = (long)Grid.DimX * Group.DimX, columns = geometry.Columns, groups = TGroups.AreRows ? geometry.Rows : columns;
        int nonFinite = 0;
        for (long i = Grid.GlobalLinearIndex; i < parts * columns; i += threads)
        {
            long column = i % columns, part = i / columns, end = Math.Min((part + 1) * RowsOfThread, geometry.Rows);
            double square = 0;
            for (long row = part * RowsOfThread; row < end; row += Abreast)
            {
                long r1 = Math.Min(row + 1, end - 1), r2 = Math.Min(row + 2, end - 1), r3 = Math.Min(row + 3, end - 1);
                long i0 = row * columns + column, i1 = r1 * columns + column, i2 = r2 * columns + column, i3 = r3 * columns + column;
                double y0 = geometry.Nothing, y1 = y0, y2 = y0, y3 = y0;
                for (int k = 0; k < inputs.Count; k++)
                {
                    long from = inputs.First<T>(k), group = k * groups + (TGroups.AreRows ? row : column);
                    double c0 = coefficients[group], c1 = TGroups.AreRows ? coefficients[group + r1 - row] : c0;
                    double c2 = TGroups.AreRows ? coefficients[group + r2 - row] : c0, c3 = TGroups.AreRows ? coefficients[group + r3 - row] : c0;
                    double x0 = T.Read(inputs.Data, from + i0), x1 = T.Read(inputs.Data, from + i1), x2 = T.Read(inputs.Data, from + i2), x3 = T.Read(inputs.Data, from + i3);
                    y0 = DeviceMath.Fma(c0, x0, y0);
                    y1 = DeviceMath.Fma(c1, x1, y1);
                    y2 = DeviceMath.Fma(c2, x2, y2);
                    y3 = DeviceMath.Fma(c3, x3, y3);
                }

                square = DeviceMath.Fma(y0, y0, square);
                square = row + 1 < end ? DeviceMath.Fma(y1, y1, square) : square;
                square = row + 2 < end ? DeviceMath.Fma(y2, y2, square) : square;
                square = row + 3 < end ? DeviceMath.Fma(y3, y3, square) : square;
                if (output.Length == 0)
                    continue;
                if (scales.Length > 0)
                {
                    y0 *= scales[TGroups.AreRows ? row : column];
                    y1 *= scales[TGroups.AreRows ? r1 : column];
                    y2 *= scales[TGroups.AreRows ? r2 : column];
                    y3 *= scales[TGroups.AreRows ? r3 : column];
                }

                nonFinite += TOut.Write(output, i0, y0);
                if (row + 1 < end)
                    nonFinite += TOut.Write(output, i1, y1);
                if (row + 2 < end)
                    nonFinite += TOut.Write(output, i2, y2);
                if (row + 3 < end)
                    nonFinite += TOut.Write(output, i3, y3);
            }

            if (squares.Length > 0)
                squares[i] = square;
        }

        Blocks.Sum(nonFinite, counts);
    }

    /// <summary>Adds up to <paramref name="most"/> neighbours: of outer x count x inner numbers outer x ceil(count / most) x inner are left.</summary>
    public static void Fold(ArrayView<double> sums, long count, long inner, long most, ArrayView<double> folded)
    {
        long threads = (long)Grid.DimX * Group.DimX, left = (count + most - 1) / most;
        for (long i = Grid.GlobalLinearIndex; i < folded.Length; i += threads)
        {
            long at = i % inner, part = i / inner % left, outer = i / inner / left;
            long first = part * most, end = Math.Min(first + most, count);
            double sum = 0;
            for (long j = first; j < end; j++)
                sum += sums[(outer * count + j) * inner + at];
            folded[i] = sum;
        }
    }

    private static double Mean<T>(DeviceInputs inputs, ArrayView<double> weights, double divisor, double scale, long i) where T : struct, IElement
    {
        double sum = weights[0] * scale * inputs.Read<T>(0, i);
        for (int k = 1; k < inputs.Count; k++)
            sum = DeviceMath.Fma(weights[k] * scale, inputs.Read<T>(k, i), sum);
        return scale == 1 ? sum / divisor : SumScale.Quotient(sum, divisor * scale, inputs.Count);
    }

    private static int Faults(double value, bool counts) => counts && !DeviceMath.IsFinite(value) ? 1 : 0;
}
