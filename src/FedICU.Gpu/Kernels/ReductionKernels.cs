using ILGPU;

namespace FedICU.Gpu.Kernels;

/// <summary>Kernels that reduce many values to few, in a fixed order and without atomics.</summary>
internal static class ReductionKernels
{
    /// <summary>
    /// Adds up to <paramref name="width"/> neighbors along the middle dimension: outer x count x inner sums become
    /// outer x ceil(count / width) x inner.
    /// </summary>
    public static void Fold(ArrayView<double> sums, long count, long inner, long width, ArrayView<double> folded)
    {
        long threads = (long)Grid.DimX * Group.DimX, parts = (count + width - 1) / width;
        for (long i = Grid.GlobalLinearIndex; i < folded.Length; i += threads)
        {
            long at = i % inner, part = i / inner % parts, outer = i / inner / parts;
            long first = part * width, end = Math.Min(first + width, count);
            double sum = 0;
            for (long j = first; j < end; j++)
                sum += sums[(outer * count + j) * inner + at];
            folded[i] = sum;
        }
    }

    /// <summary>Counts the elements in each block that are not finite.</summary>
    public static void CountNonFinite<T>(DeviceInputs input, long length, ArrayView<int> counts) where T : struct, IElement
    {
        long threads = (long)Grid.DimX * Group.DimX;
        int nonFinite = 0;
        for (long i = Grid.GlobalLinearIndex; i < length; i += threads)
            nonFinite += DeviceMath.IsFinite(input.Read<T>(0, i)) ? 0 : 1;
        Blocks.Sum(nonFinite, counts);
    }
}
