using System.Reflection;
using ILGPU;
using ILGPU.Backends.OpenCL;
using ILGPU.Backends.PTX;
using ILGPU.IR;
using ILGPU.IR.Intrinsics;

namespace FedICU.Gpu.Kernels;

/// <summary>
/// What kernels compute with. Every multiply-add is the fused one, by name: a device's compiler may fuse others or not as it likes, so kernels have no
/// product that is added to something without it.
/// </summary>
internal static class DeviceMath
{
    /// <summary>a * b + c, rounded once.</summary>
    [IntrinsicImplementation]
    public static double Fma(double a, double b, double c) => Math.FusedMultiplyAdd(a, b, c);

    /// <summary>Whether a number is neither NaN nor infinite.</summary>
    public static bool IsFinite(double value) => (Interop.FloatAsInt(value) & 0x7FF0_0000_0000_0000UL) != 0x7FF0_0000_0000_0000UL;

    /// <summary>Tells ILGPU how each kind of device computes <see cref="Fma"/>; its own compilers know no such call.</summary>
    public static void Register(Context context)
    {
        MethodInfo fma = typeof(DeviceMath).GetMethod(nameof(Fma))!;
        IntrinsicImplementationManager intrinsics = context.GetIntrinsicManager();
        intrinsics.RegisterMethod(fma, new PTXIntrinsic(typeof(DeviceMath), nameof(WritePtx), IntrinsicImplementationMode.GenerateCode));
        intrinsics.RegisterMethod(fma, new CLIntrinsic(typeof(DeviceMath), nameof(WriteOpenCl), IntrinsicImplementationMode.GenerateCode));
    }

    private static void WritePtx(PTXBackend backend, PTXCodeGenerator generator, Value call)
    {
        _ = backend;
        var (a, b, c) = (generator.LoadPrimitive(call[0]), generator.LoadPrimitive(call[1]), generator.LoadPrimitive(call[2]));
        var result = generator.AllocateHardware(call);
        using var command = generator.BeginCommand("fma.rn.f64");
        command.AppendArgument(result);
        command.AppendArgument(a);
        command.AppendArgument(b);
        command.AppendArgument(c);
    }

    private static void WriteOpenCl(CLBackend backend, CLCodeGenerator generator, Value call)
    {
        _ = backend;
        var (a, b, c) = (generator.Load(call[0]), generator.Load(call[1]), generator.Load(call[2]));
        using var statement = generator.BeginStatement(generator.Allocate(call));
        statement.AppendCommand("fma");
        statement.BeginArguments();
        statement.AppendArgument(a);
        statement.AppendArgument(b);
        statement.AppendArgument(c);
        statement.EndArguments();
    }
}
