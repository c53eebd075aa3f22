using ILGPU;

namespace FedICU.Gpu.Kernels;

/// <summary>Sums over the threads of a block, in a tree of fixed shape.</summary>
internal static class Blocks
{
    /// <summary>Threads of a block; their number is a power of two.</summary>
    public const int MostThreads = 256;

    /// <summary>sums[block] = the sum over the block's threads.</summary>
    public static void Sum(int value, ArrayView<int> sums)
    {
        ArrayView<int> shared = SharedMemory.Allocate<int>(MostThreads);
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
