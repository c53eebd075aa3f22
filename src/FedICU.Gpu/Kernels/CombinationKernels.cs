using ILGPU;

namespace FedICU.Gpu.Kernels;

/// <summary>
/// Linear combinations of the inputs with a coefficient for each group. Each thread writes one partial sum to a place
/// of its own, without atomics; <see cref="ReductionKernels.Fold"/> adds them in a fixed order.
/// </summary>
internal static class CombinationKernels
{
    /// <summary>
    /// Adds the inner products of a_k x_k with t = sum_j b_j x_j. A part is <see cref="ReductionShape.RowsPerThread"/>
    /// rows of every <paramref name="lanes"/>-th column; its sum is at (input * parts + part) * lanes + lane and must
    /// be 0 at the start.
    /// </summary>
    public static void Projections<T, TGroups>(
        DeviceInputs inputs, ArrayView<double> a, ArrayView<double> b, DeviceGeometry geometry, long parts, long lanes,
        ArrayView<double> sums)
        where T : struct, IElement where TGroups : struct, IGroups
    {
        long threads = (long)Grid.DimX * Group.DimX, columns = geometry.Columns, groups = TGroups.AreRows ? geometry.Rows : columns;
        for (long i = Grid.GlobalLinearIndex; i < parts * lanes; i += threads)
        {
            long lane = i % lanes, part = i / lanes, end = Math.Min((part + 1) * ReductionShape.RowsPerThread, geometry.Rows);
            for (long column = lane; column < columns; column += lanes)
            {
                for (long row = part * ReductionShape.RowsPerThread; row < end; row += ReductionShape.RowsPerStep)
                {
                    // rows past the end read the last row again; they add nothing
                    long r1 = Math.Min(row + 1, end - 1), r2 = Math.Min(row + 2, end - 1), r3 = Math.Min(row + 3, end - 1);
                    long i0 = row * columns + column, i1 = r1 * columns + column, i2 = r2 * columns + column, i3 = r3 * columns + column;
                    double t0 = geometry.NegativeZero, t1 = t0, t2 = t0, t3 = t0;
                    for (int k = 0; k < inputs.Count; k++)
                    {
                        long from = inputs.FirstIndex<T>(k), group = k * groups + (TGroups.AreRows ? row : column);
                        double b0 = b[group], b1 = TGroups.AreRows ? b[group + r1 - row] : b0;
                        double b2 = TGroups.AreRows ? b[group + r2 - row] : b0, b3 = TGroups.AreRows ? b[group + r3 - row] : b0;
                        double x0 = T.Read(inputs.Data, from + i0), x1 = T.Read(inputs.Data, from + i1);
                        double x2 = T.Read(inputs.Data, from + i2), x3 = T.Read(inputs.Data, from + i3);
                        t0 = DeviceMath.Fma(b0, x0, t0);
                        t1 = DeviceMath.Fma(b1, x1, t1);
                        t2 = DeviceMath.Fma(b2, x2, t2);
                        t3 = DeviceMath.Fma(b3, x3, t3);
                    }

                    for (int k = 0; k < inputs.Count; k++)
                    {
                        long from = inputs.FirstIndex<T>(k), group = k * groups + (TGroups.AreRows ? row : column);
                        long at = k * parts * lanes + i;
                        double a0 = a[group], a1 = TGroups.AreRows ? a[group + r1 - row] : a0;
                        double a2 = TGroups.AreRows ? a[group + r2 - row] : a0, a3 = TGroups.AreRows ? a[group + r3 - row] : a0;
                        double x0 = T.Read(inputs.Data, from + i0), x1 = T.Read(inputs.Data, from + i1);
                        double x2 = T.Read(inputs.Data, from + i2), x3 = T.Read(inputs.Data, from + i3);
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
    /// Computes output = round(scale * y) with y = sum_k c_k x_k, and the sums of y^2 in each column, in parts of
    /// <see cref="ReductionShape.RowsPerThread"/> rows.
    /// </summary>
    /// <param name="inputs">The inputs.</param>
    /// <param name="coefficients">The coefficients c, inputs x groups.</param>
    /// <param name="scales">The factor of each group; empty for no factors.</param>
    /// <param name="geometry">The rows and columns.</param>
    /// <param name="parts">The number of parts that the rows form.</param>
    /// <param name="output">The output; empty to write none.</param>
    /// <param name="squares">The sums of y^2, parts x columns; empty to compute none.</param>
    /// <param name="counts">The number of outputs in each block that are not finite.</param>
    public static void Combine<T, TOut, TGroups>(
        DeviceInputs inputs, ArrayView<double> coefficients, ArrayView<double> scales, DeviceGeometry geometry, long parts,
        ArrayView<byte> output, ArrayView<double> squares, ArrayView<int> counts)
        where T : struct, IElement where TOut : struct, IElement where TGroups : struct, IGroups
    {
        long threads = (long)Grid.DimX * Group.DimX, columns = geometry.Columns, groups = TGroups.AreRows ? geometry.Rows : columns;
        int nonFinite = 0;
        for (long i = Grid.GlobalLinearIndex; i < parts * columns; i += threads)
        {
            long column = i % columns, part = i / columns, end = Math.Min((part + 1) * ReductionShape.RowsPerThread, geometry.Rows);
            double square = 0;
            for (long row = part * ReductionShape.RowsPerThread; row < end; row += ReductionShape.RowsPerStep)
            {
                long r1 = Math.Min(row + 1, end - 1), r2 = Math.Min(row + 2, end - 1), r3 = Math.Min(row + 3, end - 1);
                long i0 = row * columns + column, i1 = r1 * columns + column, i2 = r2 * columns + column, i3 = r3 * columns + column;
                double y0 = geometry.NegativeZero, y1 = y0, y2 = y0, y3 = y0;
                for (int k = 0; k < inputs.Count; k++)
                {
                    long from = inputs.FirstIndex<T>(k), group = k * groups + (TGroups.AreRows ? row : column);
                    double c0 = coefficients[group], c1 = TGroups.AreRows ? coefficients[group + r1 - row] : c0;
                    double c2 = TGroups.AreRows ? coefficients[group + r2 - row] : c0;
                    double c3 = TGroups.AreRows ? coefficients[group + r3 - row] : c0;
                    double x0 = T.Read(inputs.Data, from + i0), x1 = T.Read(inputs.Data, from + i1);
                    double x2 = T.Read(inputs.Data, from + i2), x3 = T.Read(inputs.Data, from + i3);
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
}
