using System.Reflection;
using System.Runtime.InteropServices;
using FedICU.Tests;
using ILGPU;
using ILGPU.Runtime;
using ILGPU.Runtime.OpenCL;

namespace FedICU.Gpu.Tests;

/// <summary>
/// PoCL's OpenCL device on the processor, which needs three things of no use elsewhere: its loader has no development name, it does not report the generic address
/// space that ILGPU asks for, and the word for it in generated code must mean global memory.
/// </summary>
internal static partial class Pocl
{
    private static readonly Lazy<bool> Loads = new(Prepare);

    /// <summary>A backend on PoCL's device; skips the test where there is none.</summary>
    public static GpuBackend CreateBackend(long chunkBytes)
    {
        Context context = CreateContext();
        return new GpuBackend(context, context.Devices[0].CreateAccelerator(context), "pocl", chunkBytes);
    }

    private static Context CreateContext()
    {
        if (OperatingSystem.IsLinux() && Loads.Value)
        {
            Context context = GpuDevices.CreateContext(builder => builder.OpenCL(Accept));
            if (context.Devices.Length > 0)
                return context;
            context.Dispose();
        }

        Tools.Missing("PoCL's OpenCL device (Debian's pocl-opencl-icd)");
        return null!;
    }

    private static bool Accept(CLDevice device)
    {
        if (!device.PlatformName.Contains("Portable", StringComparison.Ordinal))
            return false;
        typeof(CLCapabilityContext).GetProperty(nameof(CLCapabilityContext.GenericAddressSpace))!.GetSetMethod(nonPublic: true)!.Invoke(device.Capabilities, [true]);
        return true;
    }

    private static bool Prepare() =>
        // the process's own variables are copies, of which native code sees nothing
        SetEnvironment("POCL_EXTRA_BUILD_FLAGS", "-D__generic=__global", 1) == 0 && NativeLibrary.TryLoad("libOpenCL.so.1", out _);

    [LibraryImport("libc", EntryPoint = "setenv", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int SetEnvironment(string name, string value, int overwrite);
}
