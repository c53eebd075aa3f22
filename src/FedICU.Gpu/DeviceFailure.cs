using ILGPU;
using ILGPU.Runtime;
using ILGPU.Runtime.Cuda;
using ILGPU.Runtime.OpenCL;

namespace FedICU.Gpu;

/// <summary>Tells the exceptions of a device, its driver or its compiler from errors in the program.</summary>
internal static class DeviceFailure
{
    public static bool IsDeviceFailure(Exception e) => e is
        AcceleratorException or InternalCompilerException or CapabilityNotSupportedException or NotSupportedException or
        DllNotFoundException or EntryPointNotFoundException or OutOfMemoryException;

    /// <summary>
    /// Returns whether there was too little memory. This can change when another process frees memory.
    /// </summary>
    public static bool IsOutOfMemory(Exception e) => e is OutOfMemoryException
        or CudaException { Error: nameof(CudaError.CUDA_ERROR_OUT_OF_MEMORY) }
        or CLException { Error: CLError.CL_OUT_OF_RESOURCES or CLError.CL_OUT_OF_HOST_MEMORY or CLError.CL_MEM_OBJECT_ALLOCATION_FAILURE };

    /// <summary>Returns the failure's message with one period at its end.</summary>
    public static string Describe(Exception e)
    {
        string message = e is InternalCompilerException && e.InnerException is { } inner ? inner.Message : e.Message;
        return $"{message.TrimEnd('.', '\n', '\r', ' ')}.";
    }

    /// <summary>
    /// Disposes something that a device holds, and ignores failures of the device. A lost device fails for every
    /// object, and the caller already reports the loss.
    /// </summary>
    public static void Free(IDisposable? held)
    {
        try
        {
            held?.Dispose();
        }
        catch (Exception e) when (IsDeviceFailure(e))
        {
        }
    }
}
