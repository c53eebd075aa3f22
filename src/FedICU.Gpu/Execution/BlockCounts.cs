using ILGPU;
using ILGPU.Runtime;

namespace FedICU.Gpu.Execution;

/// <summary>A count for each block of a kernel, and the grid that the kernel must start with.</summary>
internal readonly unsafe struct BlockCounts(KernelConfig grid, ArrayView<int> onDevice, int* host)
{
    public KernelConfig Grid => grid;

    public ArrayView<int> OnDevice => onDevice;

    /// <summary>Adds the counts; call it after the lane has finished.</summary>
    public long Sum()
    {
        long sum = 0;
        for (int i = 0; i < (int)onDevice.Length; i++)
            sum += host[i];
        return sum;
    }
}
