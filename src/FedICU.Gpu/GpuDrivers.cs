using System.Reflection;
using System.Runtime.InteropServices;
using FedICU.Gpu.Kernels;
using ILGPU;
using ILGPU.Backends.PTX;
using ILGPU.Runtime;
using ILGPU.Runtime.Cuda;
using ILGPU.Runtime.OpenCL;

namespace FedICU.Gpu;

/// <summary>Loads the drivers of this machine, creates ILGPU contexts and lists their devices.</summary>
internal static class GpuDrivers
{
    // the numbered names: Linux systems without development packages have no others
    private static readonly Dictionary<GpuKind, string[]> Libraries = new()
    {
        [GpuKind.Cuda] = ["libcuda.so.1", "/usr/lib/wsl/lib/libcuda.so.1", "nvcuda.dll"],
        [GpuKind.OpenCl] = ["libOpenCL.so.1", "OpenCL.dll", "/System/Library/Frameworks/OpenCL.framework/OpenCL"],
    };

    static GpuDrivers()
    {
        try
        {
            NativeLibrary.SetDllImportResolver(typeof(Context).Assembly, Resolve);
        }
        catch (InvalidOperationException)
        {
            // the process has already set its own resolver for ILGPU
        }
    }

    public static bool HasDriver(GpuKind kind) => Libraries[kind].Any(library => NativeLibrary.TryLoad(library, out _));

    public static Context CreateContext(GpuKind kind) => CreateContext(builder => kind == GpuKind.Cuda ? builder : builder.OpenCL());

    /// <summary>Creates a context with the given devices and the compiler settings that the kernels need.</summary>
    public static Context CreateContext(Func<Context.Builder, Context.Builder> addDevices)
    {
        // no fast-math, which changes bits, and no assertions in kernels
        Context context = Context.Create(builder => addDevices(builder).Math(MathMode.Default).Optimize(OptimizationLevel.O2));
        DeviceMath.Register(context);
        return context;
    }

    /// <summary>
    /// Lists the devices of a kind. CUDA's do not come from the context. Its builder sets its own library resolver each
    /// time under Windows Subsystem for Linux, and ILGPU adds its CPU accelerator to a context without devices.
    /// </summary>
    public static Device[] ListDevices(GpuKind kind, Context context) => kind == GpuKind.OpenCl
        ? [.. context.Devices.OfType<CLDevice>()]
        : [.. CudaDevice.GetDevices(CanCompileFor)];

    private static bool CanCompileFor(CudaDevice device) =>
        device.Architecture.HasValue && device.InstructionSet is { } set && PTXCodeGenerator.SupportedInstructionSets.Contains(set);

    private static IntPtr Resolve(string library, Assembly assembly, DllImportSearchPath? path)
    {
        _ = (assembly, path);
        string[] names = library == "cuda" ? Libraries[GpuKind.Cuda]
            : library.Contains("OpenCL", StringComparison.Ordinal) ? Libraries[GpuKind.OpenCl]
            : [];
        foreach (string name in names)
        {
            if (NativeLibrary.TryLoad(name, out IntPtr handle))
                return handle;
        }

        return IntPtr.Zero;
    }
}
