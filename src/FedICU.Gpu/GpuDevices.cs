using FedICU.Gpu.Verification;
using ILGPU;
using ILGPU.Runtime;
using ILGPU.Runtime.Cuda;
using ILGPU.Runtime.OpenCL;

namespace FedICU.Gpu;

/// <summary>
/// The devices of this machine. A device is used only if it passes a self-check against the float64 reference; the
/// verdict holds for the process.
/// </summary>
public static class GpuDevices
{
    /// <summary>
    /// Lists all devices that drivers report, including those that ILGPU or the self-check refuses. Takes seconds if
    /// there are any.
    /// </summary>
    public static IReadOnlyList<GpuDevice> List()
    {
        var devices = new List<GpuDevice>();
        foreach (GpuKind kind in Enum.GetValues<GpuKind>())
        {
            if (!GpuDrivers.HasDriver(kind))
                continue;
            using Context context = GpuDrivers.CreateContext(kind);
            Device[] found = GpuDrivers.ListDevices(kind, context);
            for (int i = 0; i < found.Length; i++)
                devices.Add(Describe(found[i], kind, i, DeviceSelfCheck.FindRefusal(kind, found[i])));
        }

        return devices;
    }

    /// <summary>Creates the backend of a device.</summary>
    /// <param name="kind">The programming interface of the device.</param>
    /// <param name="options">The device to use and the chunk size.</param>
    /// <param name="gpusOnly">Whether to ignore CPUs that an OpenCL driver reports as devices.</param>
    /// <param name="reason">The reason why there is no backend; null if there is one.</param>
    /// <param name="refused">Whether a device was found that cannot be used.</param>
    /// <returns>The backend; null if no device was found that passes its self-check.</returns>
    internal static GpuBackend? TryCreate(GpuKind kind, GpuOptions options, bool gpusOnly, out string? reason, out bool refused)
    {
        refused = false;
        reason = GpuDrivers.HasDriver(kind) ? null : $"{NameOf(kind)}: no driver was found.";
        if (reason is not null)
            return null;
        Context? context = null;
        Accelerator? accelerator = null;
        try
        {
            context = GpuDrivers.CreateContext(kind);
            if (Choose(kind, context, options.Device, gpusOnly) is not { } device)
            {
                reason = options.Device is { } number
                    ? $"{NameOf(kind)}: there is no device {number}; the driver reports {GpuDrivers.ListDevices(kind, context).Length}."
                    : $"{NameOf(kind)}: the driver reports no device that can be used.";
                refused = options.Device is not null;
                return null;
            }

            if (DeviceSelfCheck.FindRefusal(kind, device) is { } refusal)
            {
                reason = $"{NameOf(kind)}: {device.Name}: {refusal}";
                refused = true;
                return null;
            }

            accelerator = device.CreateAccelerator(context);
            var backend = new GpuBackend(context, accelerator, NameOf(kind), options.ChunkBytes);
            // the backend owns both now
            (context, accelerator) = (null, null);
            return backend;
        }
        catch (Exception e) when (DeviceFailure.IsDeviceFailure(e))
        {
            reason = $"{NameOf(kind)}: {DeviceFailure.Describe(e)}";
            refused = true;
            return null;
        }
        finally
        {
            accelerator?.Dispose();
            context?.Dispose();
        }
    }

    /// <summary>Returns the name of a kind in options, reports and on the command line.</summary>
    internal static string NameOf(GpuKind kind) => kind == GpuKind.Cuda ? "cuda" : "opencl";

    private static Device? Choose(GpuKind kind, Context context, int? number, bool gpusOnly)
    {
        Device[] devices = GpuDrivers.ListDevices(kind, context);
        if (number is { } wanted)
            return wanted >= 0 && wanted < devices.Length ? devices[wanted] : null;
        // a CPU that an OpenCL driver reports as a device is the last choice
        Device[] gpus = [.. devices.Where(device => device is not CLDevice { DeviceType: CLDeviceType.CL_DEVICE_TYPE_CPU })];
        devices = gpus.Length > 0 || gpusOnly ? gpus : devices;
        return devices.Length <= 1 ? devices.FirstOrDefault() : devices.MaxBy(device => MeasureFreeMemory(device, context));
    }

    /// <summary>Returns a device's free memory; for OpenCL, which does not report it, all its memory.</summary>
    private static long MeasureFreeMemory(Device device, Context context)
    {
        if (device is not CudaDevice)
            return device.MemorySize;
        try
        {
            using var accelerator = (CudaAccelerator)device.CreateAccelerator(context);
            return accelerator.GetFreeMemory();
        }
        catch (Exception e) when (DeviceFailure.IsDeviceFailure(e))
        {
            return 0;
        }
    }

    private static GpuDevice Describe(Device device, GpuKind kind, int number, string? refusal)
    {
        string driver = device switch
        {
            CudaDevice cuda => $"CUDA {cuda.DriverVersion.Major}.{cuda.DriverVersion.Minor}, {cuda.Architecture}",
            CLDevice openCl => $"{openCl.PlatformName}, {openCl.DeviceVersion}",
            _ => "",
        };
        return new GpuDevice(kind, number, device.Name, device.MemorySize, driver, refusal);
    }
}
