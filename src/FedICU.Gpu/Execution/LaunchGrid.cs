using FedICU.Gpu.Kernels;
using ILGPU;
using ILGPU.Runtime;

namespace FedICU.Gpu.Execution;

/// <summary>Decides how many blocks and threads a kernel starts with on one device.</summary>
internal sealed class LaunchGrid
{
    // Blocks. Chosen: enough to keep a large device busy; kernels loop over what is left.
    private const int MaxBlocks = 4096;

    // Blocks. Chosen: ILGPU's CPU accelerator, a debugging device, pays much for each block.
    private const int MaxBlocksOnCpu = 2;

    private readonly int _threads, _maxBlocks;

    public LaunchGrid(Accelerator accelerator)
    {
        _maxBlocks = accelerator.AcceleratorType == AcceleratorType.CPU ? MaxBlocksOnCpu : MaxBlocks;
        _threads = 1;
        while (2 * _threads <= Math.Min(Blocks.MaxThreads, accelerator.MaxNumThreadsPerGroup))
            _threads *= 2;
    }

    /// <summary>Gets the bytes of results that <see cref="TakeCounts"/> takes at most.</summary>
    public static long CountBytes => DeviceLane.Align(MaxBlocks * sizeof(int));

    /// <summary>Returns a grid with a thread for each item, up to the largest grid.</summary>
    public KernelConfig ForItems(long items) => new((int)Math.Clamp((items + _threads - 1) / _threads, 1, _maxBlocks), _threads);

    /// <summary>Returns a grid with a block for each item, up to the largest grid.</summary>
    public KernelConfig ForBlocks(long blocks) => new((int)Math.Min(blocks, _maxBlocks), _threads);

    /// <summary>Takes results for a count in each block of a grid with a thread for each item.</summary>
    public unsafe BlockCounts TakeCounts(DeviceLane lane, long items)
    {
        KernelConfig grid = ForItems(items);
        ArrayView<int> onDevice = lane.Result(grid.GridDim.X, out int* host);
        return new BlockCounts(grid, onDevice, host);
    }
}
