using System.Collections.Concurrent;
using System.Reflection;
using System.Runtime.InteropServices;
using FedICU.Compute;
using FedICU.Gpu.Kernels;
using ILGPU;
using ILGPU.Backends.PTX;
using ILGPU.Runtime;
using ILGPU.Runtime.Cuda;
using ILGPU.Runtime.OpenCL;

namespace FedICU.Gpu;

/// <summary>A device that a driver reports.</summary>
/// <param name="Kind">How it is programmed.</param>
/// <param name="Number">Its number among those of its kind.</param>
/// <param name="Name">What the driver calls it.</param>
/// <param name="MemoryBytes">Its memory.</param>
/// <param name="Driver">The driver's version, in its own words.</param>
/// <param name="Refusal">Why it is not used, null where it passed its self-check.</param>
public sealed record GpuDevice(GpuKind Kind, int Number, string Name, long MemoryBytes, string Driver, string? Refusal);

/// <summary>The devices of this machine. A device is used only after a self-check against the float64 reference, whose verdict holds for the process.</summary>
public static class GpuDevices
{
    private static readonly ConcurrentDictionary<(GpuKind, string), string?> Verdicts = new();

    // Linux systems without development packages have the numbered names only
    private static readonly Dictionary<GpuKind, string[]> Libraries = new()
    {
        [GpuKind.Cuda] = ["libcuda.so.1", "/usr/lib/wsl/lib/libcuda.so.1", "nvcuda.dll"],
        [GpuKind.OpenCl] = ["libOpenCL.so.1", "OpenCL.dll", "/System/Library/Frameworks/OpenCL.framework/OpenCL"],
    };

    static GpuDevices()
    {
        try
        {
            NativeLibrary.SetDllImportResolver(typeof(Context).Assembly, Resolve);
        }
        catch (InvalidOperationException)
        {
            // the process has a resolver of its own for ILGPU
        }
    }

    /// <summary>All devices that drivers report, those that ILGPU or the self-check refuses included. Takes seconds where there are any.</summary>
    public static IReadOnlyList<GpuDevice> List()
    {
        var devices = new List<GpuDevice>();
        foreach (GpuKind kind in Enum.GetValues<GpuKind>())
        {
            if (!HasDriver(kind))
                continue;
            using Context context = CreateContext(kind);
            Device[] found = DevicesOf(kind, context);
            for (int i = 0; i < found.Length; i++)
                devices.Add(Describe(found[i], kind, i, Refusal(kind, found[i])));
        }

        return devices;
    }

    /// <summary>Creates the backend of a kind's device.</summary>
    /// <param name="kind">How it is programmed.</param>
    /// <param name="options">Which device, and how.</param>
    /// <param name="gpusOnly">Whether a processor that an OpenCL driver presents as a device is none.</param>
    /// <param name="reason">Why there is none that passes its self-check.</param>
    /// <param name="refused">Whether one is there, and cannot be used.</param>
    internal static GpuBackend? TryCreate(GpuKind kind, GpuOptions options, bool gpusOnly, out string? reason, out bool refused)
    {
        refused = false;
        reason = HasDriver(kind) ? null : $"{NameOf(kind)}: no driver was found.";
        if (reason is not null)
            return null;
        Context? context = null;
        Accelerator? accelerator = null;
        try
        {
            context = CreateContext(kind);
            if (Choose(kind, context, options.Device, gpusOnly) is not { } device)
            {
                reason = options.Device is { } number ? $"{NameOf(kind)}: there is no device {number}; the driver reports {DevicesOf(kind, context).Length}." : $"{NameOf(kind)}: the driver reports no device that can be used.";
                refused = options.Device is not null;
                return null;
            }

            if (Refusal(kind, device) is { } refusal)
            {
                reason = $"{NameOf(kind)}: {device.Name}: {refusal}";
                refused = true;
                return null;
            }

            accelerator = device.CreateAccelerator(context);
            var backend = new GpuBackend(context, accelerator, NameOf(kind), options.ChunkBytes);
            (context, accelerator) = (null, null);
            return backend;
        }
        catch (Exception e) when (DeviceFailure.Is(e))
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

    /// <summary>The name in options, reports and on the command line.</summary>
    internal static string NameOf(GpuKind kind) => kind == GpuKind.Cuda ? "cuda" : "opencl";

    /// <summary>A context of the devices given that compiles as kernels want it.</summary>
    internal static Context CreateContext(Func<Context.Builder, Context.Builder> devices)
    {
        // no fast-math, and no assertions in kernels
        Context context = Context.Create(builder => devices(builder).Math(MathMode.Default).Optimize(OptimizationLevel.O2));
        DeviceMath.Register(context);
        return context;
    }

    private static Context CreateContext(GpuKind kind) => CreateContext(builder => kind == GpuKind.Cuda ? builder : builder.OpenCL());

    internal static bool HasDriver(GpuKind kind)
    {
        foreach (string library in Libraries[kind])
        {
            if (NativeLibrary.TryLoad(library, out _))
                return true;
        }

        return false;
    }

    private static IntPtr Resolve(string library, Assembly assembly, DllImportSearchPath? path)
    {
        _ = (assembly, path);
        string[] names = library == "cuda" ? Libraries[GpuKind.Cuda] : library.Contains("OpenCL", StringComparison.Ordinal) ? Libraries[GpuKind.OpenCl] : [];
        foreach (string name in names)
        {
            if (NativeLibrary.TryLoad(name, out IntPtr handle))
                return handle;
        }

        return IntPtr.Zero;
    }

    private static Device? Choose(GpuKind kind, Context context, int? number, bool gpusOnly)
    {
        Device[] devices = DevicesOf(kind, context);
        if (number is { } wanted)
            return wanted >= 0 && wanted < devices.Length ? devices[wanted] : null;
        // a processor that an OpenCL driver presents as a device is the last choice
        Device[] gpus = [.. devices.Where(device => device is not CLDevice { DeviceType: CLDeviceType.CL_DEVICE_TYPE_CPU })];
        devices = gpus.Length > 0 || gpusOnly ? gpus : devices;
        return devices.Length <= 1 ? devices.FirstOrDefault() : devices.MaxBy(device => FreeMemory(device, context));
    }

    // CUDA's are asked for past the context's builder, which sets a resolver for libraries of its own each time, on Windows' Linux; and ILGPU puts its debugging device where
    // there is no other
    private static Device[] DevicesOf(GpuKind kind, Context context) => kind == GpuKind.OpenCl ? [.. context.Devices.OfType<CLDevice>()] :
        [.. CudaDevice.GetDevices(device => device.Architecture.HasValue && device.InstructionSet is { } set && PTXCodeGenerator.SupportedInstructionSets.Contains(set))];

    // OpenCL tells no free memory
    private static long FreeMemory(Device device, Context context)
    {
        if (device is not CudaDevice)
            return device.MemorySize;
        try
        {
            using var accelerator = (CudaAccelerator)device.CreateAccelerator(context);
            return accelerator.GetFreeMemory();
        }
        catch (Exception e) when (DeviceFailure.Is(e))
        {
            return 0;
        }
    }

    private static string? Refusal(GpuKind kind, Device device)
    {
        (GpuKind, string) key = (kind, IdOf(device));
        if (Verdicts.TryGetValue(key, out string? verdict))
            return verdict;
        verdict = Check(kind, key.Item2, out bool lasts);
        if (lasts)
            Verdicts[key] = verdict;
        return verdict;
    }

    private static string IdOf(Device device) => device switch
    {
        CudaDevice cuda => $"{cuda.DeviceId}",
        CLDevice openCl => $"{openCl.PlatformId}/{openCl.DeviceId}",
        _ => device.Name,
    };

    /// <summary>
    /// Why the device may not be used: it cannot be started, or gives wrong results. In a context of its own, as a failed compilation spoils one, and in small chunks, so that
    /// all a long tensor takes is tried.
    /// </summary>
    /// <param name="kind">How it is programmed.</param>
    /// <param name="id">Which it is.</param>
    /// <param name="lasts">Whether it would be the same a minute later: others may have taken the device's memory for a while.</param>
    private static string? Check(GpuKind kind, string id, out bool lasts)
    {
        lasts = true;
        Context? context = null;
        try
        {
            context = CreateContext(kind);
            Device device = Array.Find(DevicesOf(kind, context), device => IdOf(device) == id) ?? throw new NotSupportedException("The driver reports it no longer.");
            using var backend = new GpuBackend(context, device.CreateAccelerator(context), NameOf(kind), GpuOptions.LeastChunkBytes);
            context = null;
            return Refusal(BackendVerification.Run(backend, quick: true)) ?? (LongSums.AreRight(backend) ? null : "its results are wrong (sums of long tensors).");
        }
        catch (Exception e) when (DeviceFailure.Is(e))
        {
            lasts = !DeviceFailure.IsOutOfMemory(e);
            return DeviceFailure.Describe(e);
        }
        finally
        {
            context?.Dispose();
        }
    }

    internal static string? Refusal(VerificationResult result) =>
        result.Rows.FirstOrDefault(row => !row.Passed) is { } wrong ? $"its results are wrong ({wrong.Verb} of {wrong.DType.SafetensorsName})." : null;

    private static GpuDevice Describe(Device device, GpuKind kind, int number, string? refusal) =>
        new(kind, number, device.Name, device.MemorySize, device switch
        {
            CudaDevice cuda => $"CUDA {cuda.DriverVersion.Major}.{cuda.DriverVersion.Minor}, {cuda.Architecture}",
            CLDevice openCl => $"{openCl.PlatformName}, {openCl.DeviceVersion}",
            _ => "",
        }, refusal);
}
