using ILGPU;

namespace FedICU.Gpu.Kernels;

/// <summary>Sums over the threads of a block, added in a tree of fixed shape.</summary>
internal static class Blocks
{
    /// <summary>
    /// The largest number of threads in a block; chosen. Must be a power of two: the tree halves it in each step.
    /// </summary>
    public const int MaxThreads = 256;

    /// <summary>
    /// Writes the sum of all threads' values to sums[block]. All threads of the block must call this.
    /// </summary>
    public static void Sum(int value, ArrayView<int> sums)
    {
        ArrayView<int> shared = SharedMemory.Allocate<int>(MaxThreads);
        shared[Group.IdxX] = value;
        Group.Barrier();
        for (int step = Group.DimX / 2; step > 0; step /= 2)
        {
            if (Group.IdxX < step)
                shared[Group.IdxX] += shared[Group.IdxX + step];
            Group.Barrier();
        }

        if (Group.IdxX == 0)
            sums[Grid.IdxX] = shared[0];
    }
}
