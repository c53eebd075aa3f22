using ILGPU;
using ILGPU.Runtime;
using ILGPU.Runtime.Cuda;
using ILGPU.Runtime.OpenCL;

namespace FedICU.Gpu;

/// <summary>What a device, its driver or its compiler can throw, as opposed to errors of the program.</summary>
internal static class DeviceFailure
{
    public static bool Is(Exception e) =>
        e is AcceleratorException or InternalCompilerException or CapabilityNotSupportedException or NotSupportedException or DllNotFoundException or EntryPointNotFoundException or OutOfMemoryException;

    /// <summary>Whether memory was wanting, which others may give back.</summary>
    public static bool IsOutOfMemory(Exception e) => e is OutOfMemoryException or CudaException { Error: nameof(CudaError.CUDA_ERROR_OUT_OF_MEMORY) }
        or CLException { Error: CLError.CL_OUT_OF_RESOURCES or CLError.CL_OUT_OF_HOST_MEMORY or CLError.CL_MEM_OBJECT_ALLOCATION_FAILURE };

    /// <summary>A sentence.</summary>
    public static string Describe(Exception e) => $"{(e is InternalCompilerException && e.InnerException is { } inner ? inner.Message : e.Message).TrimEnd('.', '\n', '\r', ' ')}.";

    /// <summary>Disposes of what a device holds. One that is lost says so of each thing that it no longer has, and whoever frees it has the answer to something else in hand.</summary>
    public static void Free(IDisposable? held)
    {
        try
        {
            held?.Dispose();
        }
        catch (Exception e) when (Is(e))
        {
        }
    }
}
