using FedICU.Gpu.Kernels;
using ILGPU;

namespace FedICU.Gpu.Execution;

/// <summary>
/// Adds the partial sums that kernels leave, in a tree of fixed shape: the device decides neither order nor bits.
/// </summary>
internal sealed class PartialSums(KernelSet kernels, LaunchGrid grid)
{
    /// <summary>
    /// Returns how many parts the rows of a chunk form if a part is <see cref="ReductionShape.RowsPerThread"/> rows.
    /// </summary>
    public static long PartsOfColumn(Chunk chunk) => DivideUp(chunk.Rows, ReductionShape.RowsPerThread);

    /// <summary>
    /// Returns how many parts each row of a chunk forms: more if there are few rows, so that enough threads have work.
    /// </summary>
    public static long PartsOfRow(Chunk chunk) => Math.Min(
        chunk.Columns, Math.Clamp(ReductionShape.ThreadsForRows / chunk.Rows, ReductionShape.FoldWidth, ReductionShape.MaxPartsPerRow));

    /// <summary>Returns the bytes of scratch memory for partial sums and for the steps of <see cref="Add"/>.</summary>
    public static long ScratchBytes(long count)
    {
        const int Width = ReductionShape.FoldWidth;
        long bytes = DeviceLane.Align(count * sizeof(double));
        for (; count > 1; count = DivideUp(count, Width))
            bytes += DeviceLane.Align(DivideUp(count, Width) * sizeof(double)) + DeviceLane.Align(count / Width * sizeof(double));
        return bytes + count * sizeof(double);
    }

    /// <summary>
    /// Adds outer x count x inner partial sums over their middle dimension. Does nothing if count is 1: then the kernel
    /// has written <paramref name="result"/> itself.
    /// </summary>
    public void Add(DeviceLane lane, ArrayView<double> partial, long outer, long count, long inner, ArrayView<double> result)
    {
        while (count > 1)
        {
            long remaining = DivideUp(count, ReductionShape.FoldWidth);
            ArrayView<double> folded = remaining == 1 ? result : lane.Scratch<double>(outer * remaining * inner);
            kernels.Fold()(lane.Stream, grid.ForItems(folded.Length), partial, count, inner, ReductionShape.FoldWidth, folded);
            (partial, count) = (folded, remaining);
        }
    }

    private static long DivideUp(long count, long divisor) => (count + divisor - 1) / divisor;
}
