using FedICU.Compute;
using ILGPU;

namespace FedICU.Gpu.Kernels;

/// <summary>Importances and the masks made from them: u is a client's update, g the received global model.</summary>
internal static class MaskKernels
{
    /// <summary>
    /// Numbers that <see cref="Moments"/> writes for a block of elements: the mean, squared deviations, minimum and
    /// maximum of |u|, then the same of |g|.
    /// </summary>
    public const int MomentsPerBlock = 8;

    /// <summary>Bytes of a mask that one thread of <see cref="Pack{T}"/> processes; chosen.</summary>
    public const int MaskBytesPerThread = 4;

    /// <summary>
    /// Computes the moments of each <see cref="MagnitudeMoments.Block"/> elements. One block of threads reduces them in
    /// two trees: sums, minima and maxima first, then squared deviations from the mean.
    /// </summary>
    public static void Moments<T, TMomentum>(DeviceImportance inputs, long length, ArrayView<double> moments)
        where T : struct, IElement where TMomentum : struct, IElement
    {
        const int Stride = Blocks.MaxThreads;
        ArrayView<double> shared = SharedMemory.Allocate<double>(MomentsPerBlock * Stride);
        int thread = Group.IdxX;
        long blocks = (length + MagnitudeMoments.Block - 1) / MagnitudeMoments.Block;
        for (long block = Grid.IdxX; block < blocks; block += Grid.DimX)
        {
            long first = block * MagnitudeMoments.Block, end = Math.Min(first + MagnitudeMoments.Block, length);
            double sumU = 0, sumG = 0, minU = double.PositiveInfinity, minG = double.PositiveInfinity, maxU = 0, maxG = 0;
            for (long i = first + thread; i < end; i += Group.DimX)
            {
                double u = Math.Abs(inputs.Update<T, TMomentum>(i)), g = Math.Abs(inputs.Models.Read<T>(0, i));
                sumU += u;
                sumG += g;
                minU = Math.Min(minU, u);
                minG = Math.Min(minG, g);
                maxU = Math.Max(maxU, u);
                maxG = Math.Max(maxG, g);
            }

            shared[thread] = sumU;
            shared[Stride + thread] = sumG;
            shared[2 * Stride + thread] = minU;
            shared[3 * Stride + thread] = minG;
            shared[4 * Stride + thread] = maxU;
            shared[5 * Stride + thread] = maxG;
            Group.Barrier();
            for (int step = Group.DimX / 2; step > 0; step /= 2)
            {
                if (thread < step)
                {
                    shared[thread] += shared[thread + step];
                    shared[Stride + thread] += shared[Stride + thread + step];
                    shared[2 * Stride + thread] = Math.Min(shared[2 * Stride + thread], shared[2 * Stride + thread + step]);
                    shared[3 * Stride + thread] = Math.Min(shared[3 * Stride + thread], shared[3 * Stride + thread + step]);
                    shared[4 * Stride + thread] = Math.Max(shared[4 * Stride + thread], shared[4 * Stride + thread + step]);
                    shared[5 * Stride + thread] = Math.Max(shared[5 * Stride + thread], shared[5 * Stride + thread + step]);
                }

                Group.Barrier();
            }

            double count = end - first, meanU = shared[0] / count, meanG = shared[Stride] / count, squaresU = 0, squaresG = 0;
            for (long i = first + thread; i < end; i += Group.DimX)
            {
                double u = Math.Abs(inputs.Update<T, TMomentum>(i)) - meanU, g = Math.Abs(inputs.Models.Read<T>(0, i)) - meanG;
                squaresU = DeviceMath.Fma(u, u, squaresU);
                squaresG = DeviceMath.Fma(g, g, squaresG);
            }

            shared[6 * Stride + thread] = squaresU;
            shared[7 * Stride + thread] = squaresG;
            Group.Barrier();
            for (int step = Group.DimX / 2; step > 0; step /= 2)
            {
                if (thread < step)
                {
                    shared[6 * Stride + thread] += shared[6 * Stride + thread + step];
                    shared[7 * Stride + thread] += shared[7 * Stride + thread + step];
                }

                Group.Barrier();
            }

            if (thread == 0)
            {
                long at = block * MomentsPerBlock;
                moments[at] = meanU;
                moments[at + 1] = shared[6 * Stride];
                // a device's minimum and maximum ignore NaN; the mean does not
                moments[at + 2] = meanU >= 0 ? shared[2 * Stride] : meanU;
                moments[at + 3] = meanU >= 0 ? shared[4 * Stride] : meanU;
                moments[at + 4] = meanG;
                moments[at + 5] = shared[7 * Stride];
                moments[at + 6] = meanG >= 0 ? shared[3 * Stride] : meanG;
                moments[at + 7] = meanG >= 0 ? shared[5 * Stride] : meanG;
            }

            // the next block overwrites the shared values
            Group.Barrier();
        }
    }

    /// <summary>
    /// Computes the hard mask, one byte (eight elements) at a time, and counts the set bits in each block. Also writes
    /// u to <paramref name="momentum"/>, unless that is empty.
    /// </summary>
    public static void Select<T, TMomentum, TOut>(
        DeviceImportance inputs, long length, DeviceScales scales, double tie, ArrayView<byte> mask, ArrayView<byte> momentum,
        ArrayView<int> counts)
        where T : struct, IElement where TMomentum : struct, IElement where TOut : struct, IElement
    {
        long threads = (long)Grid.DimX * Group.DimX;
        int selected = 0;
        for (long i = Grid.GlobalLinearIndex; 8 * i < length; i += threads)
        {
            int bits = 0;
            for (int j = 0; j < 8 && 8 * i + j < length; j++)
            {
                long at = 8 * i + j;
                double u = inputs.Update<T, TMomentum>(at);
                if (momentum.Length > 0)
                    TOut.Write(momentum, at, u);
                double z = ZScore(inputs.Models.Read<T>(0, at), scales.GlobalCenter, scales.GlobalSpread);
                bool important = scales.GlobalSpread == 0
                    || ZScore(u, scales.UpdateCenter, scales.UpdateSpread) - z > tie * (1 + Math.Abs(z));
                important = scales.UpdateSpread == 0 ? Math.Abs(u) > 0 : important;
                bits |= important ? 1 << j : 0;
            }

            mask[i] = (byte)bits;
            for (; bits != 0; bits &= bits - 1)
                selected++;
        }

        Blocks.Sum(selected, counts);
    }

    /// <summary>
    /// Computes the z-scores of |u| and |g|; they are 0 if the spread is 0. Writes none to an empty view.
    /// </summary>
    public static void Importance<T, TMomentum>(
        DeviceImportance inputs, long length, DeviceScales scales, ArrayView<double> update, ArrayView<double> global)
        where T : struct, IElement where TMomentum : struct, IElement
    {
        long threads = (long)Grid.DimX * Group.DimX;
        for (long i = Grid.GlobalLinearIndex; i < length; i += threads)
        {
            if (update.Length > 0)
                update[i] = ZScore(inputs.Update<T, TMomentum>(i), scales.UpdateCenter, scales.UpdateSpread);
            if (global.Length > 0)
                global[i] = ZScore(inputs.Models.Read<T>(0, i), scales.GlobalCenter, scales.GlobalSpread);
        }
    }

    /// <summary>
    /// Copies the elements whose bit is set. Run r is <see cref="MaskBytesPerThread"/> bytes of the mask; its elements
    /// go to packed[starts[r]] and the places after it.
    /// </summary>
    public static void Pack<T>(DeviceInputs source, ArrayView<byte> mask, ArrayView<int> starts, ArrayView<byte> packed)
        where T : struct, IElement
    {
        long threads = (long)Grid.DimX * Group.DimX, first = source.FirstIndex<T>(0);
        for (long run = Grid.GlobalLinearIndex; run < starts.Length; run += threads)
        {
            long target = starts[run];
            for (long i = run * MaskBytesPerThread; i < (run + 1) * MaskBytesPerThread && i < mask.Length; i++)
            {
                int bits = mask[i];
                for (int j = 0; bits != 0; j++, bits >>= 1)
                {
                    if ((bits & 1) != 0)
                        T.Copy(source.Data, first + 8 * i + j, packed, target++);
                }
            }
        }
    }

    private static double ZScore(double x, double center, double spread) => spread == 0 ? 0 : (Math.Abs(x) - center) / spread;
}
