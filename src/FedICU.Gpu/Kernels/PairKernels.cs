using ILGPU;

namespace FedICU.Gpu.Kernels;

/// <summary>
/// Inner products of pairs of inputs, by rows or by columns. <c>pairs</c> contains two input numbers for each pair.
/// Each thread writes one partial sum to a place of its own, without atomics; <see cref="ReductionKernels.Fold"/> adds
/// them in a fixed order.
/// </summary>
internal static class PairKernels
{
    /// <summary>
    /// Adds the inner products of pairs of inputs in each column, in parts of
    /// <see cref="ReductionShape.RowsPerThread"/> rows. The sum of a part is at (pair * parts + part) * columns +
    /// column.
    /// </summary>
    public static void PairsOfColumns<T>(
        DeviceInputs inputs, ArrayView<int> pairs, DeviceGeometry geometry, long parts, ArrayView<double> sums)
        where T : struct, IElement
    {
        long threads = (long)Grid.DimX * Group.DimX, columns = geometry.Columns;
        for (long i = Grid.GlobalLinearIndex; i < sums.Length; i += threads)
        {
            long column = i % columns, part = i / columns % parts, pair = i / columns / parts;
            int j = pairs[2 * pair], k = pairs[2 * pair + 1];
            long row = part * ReductionShape.RowsPerThread, end = Math.Min(row + ReductionShape.RowsPerThread, geometry.Rows);
            long fromJ = inputs.FirstIndex<T>(j), fromK = inputs.FirstIndex<T>(k);
            double s0 = 0, s1 = 0, s2 = 0, s3 = 0;
            for (; row + ReductionShape.RowsPerStep <= end; row += ReductionShape.RowsPerStep)
            {
                long i0 = row * columns + column, i1 = i0 + columns, i2 = i1 + columns, i3 = i2 + columns;
                double x0 = T.Read(inputs.Data, fromK + i0), x1 = T.Read(inputs.Data, fromK + i1);
                double x2 = T.Read(inputs.Data, fromK + i2), x3 = T.Read(inputs.Data, fromK + i3);
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
            {
                long at = row * columns + column;
                s0 = DeviceMath.Fma(T.Read(inputs.Data, fromJ + at), T.Read(inputs.Data, fromK + at), s0);
            }

            sums[i] = s0 + s1 + (s2 + s3);
        }
    }

    /// <summary>
    /// Adds the inner products of pairs of inputs in each row. A part is every <paramref name="parts"/>-th column; its
    /// sum is at (pair * rows + row) * parts + part.
    /// </summary>
    public static void PairsOfRows<T>(
        DeviceInputs inputs, ArrayView<int> pairs, DeviceGeometry geometry, long parts, ArrayView<double> sums)
        where T : struct, IElement
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
}
