using FedICU.Compute;
using FedICU.Compute.Simd;
using ILGPU;

namespace FedICU.Gpu.Kernels;

/// <summary>What an importance is computed from, on the device: g = global (input 0), local (input 1), the momentum of the round before.</summary>
internal struct DeviceImportance
{
    public DeviceInputs Models;
    public ArrayView<byte> Momentum;
    public int Rule;
    public double Beta;

    public readonly double Update<T, TMomentum>(long index) where T : struct, IElement where TMomentum : struct, IElement
    {
        if (Rule == (int)MomentumRule.Supplied)
            return TMomentum.Read(Momentum, index);
        double delta = Models.Read<T>(1, index) - Models.Read<T>(0, index);
        return Rule == (int)MomentumRule.None ? delta : DeviceMath.Fma(Beta, TMomentum.Read(Momentum, index), (1 - Beta) * delta);
    }
}

/// <summary>Center and spread of both sides' magnitudes.</summary>
internal struct DeviceScales
{
    public double UpdateCenter, UpdateSpread, GlobalCenter, GlobalSpread;
}

/// <summary>The verbs of the client's side, and counts.</summary>
internal static class Client
{
    /// <summary>What <see cref="Moments"/> leaves of a block: mean, squared deviations, minimum and maximum of |u|, then of |g|.</summary>
    public const int MomentsOfBlock = 8;

    /// <summary>Bytes of a mask that one thread of <see cref="Pack{T}"/> goes through.</summary>
    public const int BytesOfRun = 4;

    /// <summary>The moments of each <see cref="MagnitudeMoments.Block"/> elements, by one block of threads, in two trees: sums and bounds, then squared deviations.</summary>
    public static void Moments<T, TMomentum>(DeviceImportance inputs, long length, ArrayView<double> moments) where T : struct, IElement where TMomentum : struct, IElement
    {
        ArrayView<double> shared = SharedMemory.Allocate<double>(MomentsOfBlock * Blocks.MostThreads);
        int thread = Group.IdxX;
        long blocks = (length + MagnitudeMoments.Block - 1) / MagnitudeMoments.Block;
        for (long block = Grid.IdxX; block < blocks; block += Grid.DimX)
        {
            long first = block * MagnitudeMoments.Block, end = Math.Min(first + MagnitudeMoments.Block, length);
            double sumU = 0, sumG = 0, leastU = double.PositiveInfinity, leastG = double.PositiveInfinity, mostU = 0, mostG = 0;
            for (long i = first + thread; i < end; i += Group.DimX)
            {
                double u = Math.Abs(inputs.Update<T, TMomentum>(i)), g = Math.Abs(inputs.Models.Read<T>(0, i));
                sumU += u;
                sumG += g;
                leastU = Math.Min(leastU, u);
                leastG = Math.Min(leastG, g);
                mostU = Math.Max(mostU, u);
                mostG = Math.Max(mostG, g);
            }

            shared[thread] = sumU;
            shared[Blocks.MostThreads + thread] = sumG;
            shared[2 * Blocks.MostThreads + thread] = leastU;
            shared[3 * Blocks.MostThreads + thread] = leastG;
            shared[4 * Blocks.MostThreads + thread] = mostU;
            shared[5 * Blocks.MostThreads + thread] = mostG;
            Group.Barrier();
            for (int step = Group.DimX / 2; step > 0; step /= 2)
            {
                if (thread < step)
                {
                    shared[thread] += shared[thread + step];
                    shared[Blocks.MostThreads + thread] += shared[Blocks.MostThreads + thread + step];
                    shared[2 * Blocks.MostThreads + thread] = Math.Min(shared[2 * Blocks.MostThreads + thread], shared[2 * Blocks.MostThreads + thread + step]);
                    shared[3 * Blocks.MostThreads + thread] = Math.Min(shared[3 * Blocks.MostThreads + thread], shared[3 * Blocks.MostThreads + thread + step]);
                    shared[4 * Blocks.MostThreads + thread] = Math.Max(shared[4 * Blocks.MostThreads + thread], shared[4 * Blocks.MostThreads + thread + step]);
                    shared[5 * Blocks.MostThreads + thread] = Math.Max(shared[5 * Blocks.MostThreads + thread], shared[5 * Blocks.MostThreads + thread + step]);
                }

                Group.Barrier();
            }

            double count = end - first, meanU = shared[0] / count, meanG = shared[Blocks.MostThreads] / count, squaresU = 0, squaresG = 0;
            for (long i = first + thread; i < end; i += Group.DimX)
            {
                double u = Math.Abs(inputs.Update<T, TMomentum>(i)) - meanU, g = Math.Abs(inputs.Models.Read<T>(0, i)) - meanG;
                squaresU = DeviceMath.Fma(u, u, squaresU);
                squaresG = DeviceMath.Fma(g, g, squaresG);
            }

            shared[6 * Blocks.MostThreads + thread] = squaresU;
            shared[7 * Blocks.MostThreads + thread] = squaresG;
            Group.Barrier();
            for (int step = Group.DimX / 2; step > 0; step /= 2)
            {
                if (thread < step)
                {
                    shared[6 * Blocks.MostThreads + thread] += shared[6 * Blocks.MostThreads + thread + step];
                    shared[7 * Blocks.MostThreads + thread] += shared[7 * Blocks.MostThreads + thread + step];
                }

                Group.Barrier();
            }

            if (thread == 0)
            {
                long at = block * MomentsOfBlock;
                moments[at] = meanU;
                moments[at + 1] = shared[6 * Blocks.MostThreads];
                // devices' minimum and maximum pass over NaN, which a mean shows
                moments[at + 2] = meanU >= 0 ? shared[2 * Blocks.MostThreads] : meanU;
                moments[at + 3] = meanU >= 0 ? shared[4 * Blocks.MostThreads] : meanU;
                moments[at + 4] = meanG;
                moments[at + 5] = shared[7 * Blocks.MostThreads];
                moments[at + 6] = meanG >= 0 ? shared[3 * Blocks.MostThreads] : meanG;
                moments[at + 7] = meanG >= 0 ? shared[5 * Blocks.MostThreads] : meanG;
            }

            // the next block's values take the place of these
            Group.Barrier();
        }
    }

    /// <summary>The hard mask, a byte of eight elements by each thread; the momentum u where there is room for it; how many bits are set, by block.</summary>
    public static void Select<T, TMomentum, TOut>(
        DeviceImportance inputs, long length, DeviceScales scales, double tie, ArrayView<byte> mask, ArrayView<byte> momentum, ArrayView<int> counts)
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
                bool important = scales.GlobalSpread == 0 || ZScore(u, scales.UpdateCenter, scales.UpdateSpread) - z > tie * (1 + Math.Abs(z));
                important = scales.UpdateSpread == 0 ? Math.Abs(u) > 0 : important;
                bits |= important ? 1 << j : 0;
            }

            mask[i] = (byte)bits;
            for (; bits != 0; bits &= bits - 1)
                selected++;
        }

        Blocks.Sum(selected, counts);
    }

    /// <summary>The z-scores of |u| and |g|; 0 where the spread is 0.</summary>
    public static void Importance<T, TMomentum>(DeviceImportance inputs, long length, DeviceScales scales, ArrayView<double> update, ArrayView<double> global)
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

    /// <summary>Moves the elements whose bit is set to packed[before[run]] and on, run by run.</summary>
    public static void Pack<T>(DeviceInputs source, ArrayView<byte> mask, ArrayView<int> before, ArrayView<byte> packed) where T : struct, IElement
    {
        long threads = (long)Grid.DimX * Group.DimX, first = source.First<T>(0);
        for (long run = Grid.GlobalLinearIndex; run < before.Length; run += threads)
        {
            long to = before[run];
            for (long i = run * BytesOfRun; i < (run + 1) * BytesOfRun && i < mask.Length; i++)
            {
                int bits = mask[i];
                for (int j = 0; bits != 0; j++, bits >>= 1)
                {
                    if ((bits & 1) != 0)
                        T.Move(source.Data, first + 8 * i + j, packed, to++);
                }
            }
        }
    }

    /// <summary>sums[thread] = parts of the sum of d^2, d = local - global (inputs 0 and 1); where there is room, gradient = round(fma(mu, d, gradient)).</summary>
    public static void Proximal<T, TGradient>(DeviceInputs models, double mu, long length, ArrayView<byte> gradient, ArrayView<double> sums) where T : struct, IElement where TGradient : struct, IElement
    {
        // as many threads add as there are sums, whatever the device starts
        for (long thread = Grid.GlobalLinearIndex; thread < sums.Length; thread += (long)Grid.DimX * Group.DimX)
        {
            double sum = 0;
            for (long i = thread; i < length; i += sums.Length)
            {
                double d = models.Read<T>(0, i) - models.Read<T>(1, i);
                sum = DeviceMath.Fma(d, d, sum);
                if (gradient.Length > 0)
                    TGradient.Write(gradient, i, DeviceMath.Fma(mu, d, TGradient.Read(gradient, i)));
            }

            sums[thread] = sum;
        }
    }

    /// <summary>How many elements are not finite, by block.</summary>
    public static void CountNonFinite<T>(DeviceInputs input, long length, ArrayView<int> counts) where T : struct, IElement
    {
        long threads = (long)Grid.DimX * Group.DimX;
        int count = 0;
        for (long i = Grid.GlobalLinearIndex; i < length; i += threads)
            count += DeviceMath.IsFinite(input.Read<T>(0, i)) ? 0 : 1;
        Blocks.Sum(count, counts);
    }

    private static double ZScore(double x, double center, double spread) => spread == 0 ? 0 : (Math.Abs(x) - center) / spread;
}
