using System.Collections.Concurrent;
using FedICU.Compute;
using ILGPU;
using ILGPU.Runtime;
using ILGPU.Runtime.Cuda;
using ILGPU.Runtime.OpenCL;

namespace FedICU.Gpu.Verification;

/// <summary>
/// Checks a device against the float64 reference before its first use. The verdict holds for the process.
/// </summary>
internal static class DeviceSelfCheck
{
    // null: the device passed
    private static readonly ConcurrentDictionary<(GpuKind, string), string?> Verdicts = new();

    /// <summary>Returns why a device may not be used, as the end of a sentence; null if it passes.</summary>
    public static string? FindRefusal(GpuKind kind, Device device)
    {
        string id = IdOf(device);
        if (Verdicts.TryGetValue((kind, id), out string? refusal))
            return refusal;
        refusal = Check(kind, id, out bool isFinal);
        if (isFinal)
            Verdicts[(kind, id)] = refusal;
        return refusal;
    }

    /// <summary>Returns the refusal that follows from a verification's result; null if it passed.</summary>
    public static string? RefusalOf(VerificationResult result) => result.Rows.FirstOrDefault(row => !row.Passed) is { } wrong
        ? $"its results are wrong ({wrong.Verb} of {wrong.DType.SafetensorsName})."
        : null;

    /// <summary>
    /// Starts the device and checks its results. Uses its own context, because a failed compilation leaves a context
    /// unusable. Uses the smallest chunks, so that the check covers what long tensors need.
    /// </summary>
    /// <param name="kind">The programming interface of the device.</param>
    /// <param name="id">The device's identity.</param>
    /// <param name="isFinal">
    /// Whether the verdict holds later too. It does not if the device had no memory left, which others may free.
    /// </param>
    private static string? Check(GpuKind kind, string id, out bool isFinal)
    {
        isFinal = true;
        Context? context = null;
        try
        {
            context = GpuDrivers.CreateContext(kind);
            Device device = Array.Find(GpuDrivers.ListDevices(kind, context), device => IdOf(device) == id)
                ?? throw new NotSupportedException("The driver no longer reports this device.");
            using var backend = new GpuBackend(
                context, device.CreateAccelerator(context), GpuDevices.NameOf(kind), GpuOptions.MinChunkBytes);
            context = null;
            return RefusalOf(BackendVerification.Run(backend, quick: true))
                ?? (LongSumCheck.Passes(backend) ? null : "its results are wrong (sums of long tensors).");
        }
        catch (Exception e) when (DeviceFailure.IsDeviceFailure(e))
        {
            isFinal = !DeviceFailure.IsOutOfMemory(e);
            return DeviceFailure.Describe(e);
        }
        finally
        {
            context?.Dispose();
        }
    }

    private static string IdOf(Device device) => device switch
    {
        CudaDevice cuda => $"{cuda.DeviceId}",
        CLDevice openCl => $"{openCl.PlatformId}/{openCl.DeviceId}",
        _ => device.Name,
    };
}
