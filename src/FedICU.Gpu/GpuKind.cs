namespace FedICU.Gpu;

/// <summary>The programming interface of a device.</summary>
public enum GpuKind
{
    /// <summary>CUDA, with NVIDIA's driver.</summary>
    Cuda,
    /// <summary>OpenCL version 2 or later; the driver must support the generic address space.</summary>
    OpenCl,
}
