using System.Reflection;
using System.Runtime.InteropServices;
using FedICU.Tests;
using ILGPU;
using ILGPU.Runtime;
using ILGPU.Runtime.OpenCL;

namespace FedICU.Gpu.Tests;

/// <summary>
/// PoCL's OpenCL device on the CPU. It needs three workarounds: its loader is installed under the numbered name only,
/// it does not report the generic address space that ILGPU requires, and <c>__generic</c> in the generated code must
/// mean global memory.
/// </summary>
internal static partial class Pocl
{
    private static readonly Lazy<bool> IsAvailable = new(Prepare);

    /// <summary>Creates a backend on PoCL's device. Skips the test if there is none.</summary>
    public static GpuBackend CreateBackend(long chunkBytes)
    {
        Context context = CreateContext();
        return new GpuBackend(context, context.Devices[0].CreateAccelerator(context), "pocl", chunkBytes);
    }

    private static Context CreateContext()
    {
        if (OperatingSystem.IsLinux() && IsAvailable.Value)
        {
            Context context = GpuDrivers.CreateContext(builder => builder.OpenCL(Accept));
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
        typeof(CLCapabilityContext).GetProperty(nameof(CLCapabilityContext.GenericAddressSpace))!
            .GetSetMethod(nonPublic: true)!.Invoke(device.Capabilities, [true]);
        return true;
    }

    private static bool Prepare() =>
        // native code does not see variables set through .NET's Environment
        SetEnvironment("POCL_EXTRA_BUILD_FLAGS", "-D__generic=__global", 1) == 0 && NativeLibrary.TryLoad("libOpenCL.so.1", out _);

    [LibraryImport("libc", EntryPoint = "setenv", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int SetEnvironment(string name, string value, int overwrite);
}
