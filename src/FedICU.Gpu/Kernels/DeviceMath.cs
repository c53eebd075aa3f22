using System.Reflection;
using ILGPU;
using ILGPU.Backends.OpenCL;
using ILGPU.Backends.PTX;
using ILGPU.IR;
using ILGPU.IR.Intrinsics;

namespace FedICU.Gpu.Kernels;

/// <summary>
/// Arithmetic for kernels. A kernel must call <see cref="Fma"/> for every multiply-add: a device's compiler is free to
/// fuse a plain product and sum or not, so kernels never add a plain product.
/// </summary>
internal static class DeviceMath
{
    /// <summary>Computes a * b + c, rounded once.</summary>
    [IntrinsicImplementation]
    public static double Fma(double a, double b, double c) => Math.FusedMultiplyAdd(a, b, c);

    /// <summary>Returns whether a number is neither NaN nor infinite.</summary>
    public static bool IsFinite(double value) => (Interop.FloatAsInt(value) & 0x7FF0_0000_0000_0000UL) != 0x7FF0_0000_0000_0000UL;

    /// <summary>
    /// Registers the instructions for <see cref="Fma"/> with ILGPU, whose compilers do not know Math.FusedMultiplyAdd.
    /// </summary>
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
