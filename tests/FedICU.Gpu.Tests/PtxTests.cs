using System.Reflection;
using System.Text.RegularExpressions;
using FedICU.Gpu.Kernels;
using ILGPU;
using ILGPU.Backends;
using ILGPU.Backends.EntryPoints;
using ILGPU.Backends.PTX;
using ILGPU.Runtime;
using ILGPU.Runtime.CPU;
using ILGPU.Runtime.Cuda;

namespace FedICU.Gpu.Tests;

/// <summary>
/// Compiles every kernel with every type for CUDA, without a device, and checks the properties of the PTX that the docs
/// claim.
/// </summary>
internal sealed class PtxTests
{
    private static readonly (CudaArchitecture Architecture, CudaInstructionSet Set)[] Targets =
    [
        (CudaArchitecture.SM_80, CudaInstructionSet.ISA_70),
        (CudaArchitecture.SM_90, CudaInstructionSet.ISA_78),
        (CudaArchitecture.SM_90, Newest),
    ];

    private static CudaInstructionSet Newest => typeof(CudaInstructionSet).GetFields(BindingFlags.Public | BindingFlags.Static)
        .Select(member => member.GetValue(null)).OfType<CudaInstructionSet>().OrderBy(set => set.Major).ThenBy(set => set.Minor).Last();

    [Test]
    public void EveryKernelCompilesToPtxWithTheClaimedProperties(
        [ValueSource(nameof(Targets))] (CudaArchitecture Architecture, CudaInstructionSet Set) target)
    {
        using Context context = Context.Create(builder => builder.CPU().Math(MathMode.Default).Optimize(OptimizationLevel.O2));
        DeviceMath.Register(context);
        using var backend = new PTXBackend(context, new CudaCapabilityContext(target.Architecture), target.Architecture, target.Set, null!);
        int kernels = 0;
        foreach (MethodInfo kernel in KernelSet.All())
        {
            string name = $"{kernel.Name}<{string.Join(", ", kernel.GetGenericArguments().Select(type => type.Name))}>";
            string ptx = Compile(backend, kernel);
            kernels++;
            Assert.Multiple(() =>
            {
                Assert.That(Find(ptx, @"\.extern \.func"), Is.Empty, $"{name} calls a function that does not exist");
                Assert.That(Find(ptx, @"\.approx|\.ftz"), Is.Empty, $"{name} has approximate instructions");
                Assert.That(Find(ptx, @"\.local "), Is.Empty, $"{name} has arrays in local memory");
                Assert.That(Find(ptx, @"(fma|mad|add|mul|div|sub)(\.rn)?\.f32"), Is.Empty, $"{name} computes in float32");
                Assert.That(Find(ptx, @"\b(atom|red)\."), Is.Empty, $"{name} uses atomics");
                if (kernel.Name.StartsWith("WeightedSum", StringComparison.Ordinal))
                {
                    Assert.That(Find(ptx, @"fma\.rn\.f64"), Is.Not.Empty, $"{name} has no fused multiply-add");
                    Assert.That(Find(ptx, @"div\.rn\.f64"), Is.Not.Empty, $"{name} has no correctly rounded division");
                }

                if (kernel.Name == nameof(WeightedSumKernels.WeightedSum))
                {
                    Assert.That(Find(ptx, @"ld\.global\.v4\.b32"), Is.Not.Empty, $"{name} does not read 16 bytes at a time");
                    Assert.That(Find(ptx, @"st\.global\.v4\.b32"), Is.Not.Empty, $"{name} does not write 16 bytes at a time");
                }
            });
        }

        TestContext.Out.WriteLine($"{kernels} kernels for {target.Architecture}, {target.Set}");
        Assert.That(kernels, Is.GreaterThan(100));
    }

    /// <summary>Returns the first line that matches; empty if there is none.</summary>
    private static string Find(string ptx, string pattern) => ptx.Split('\n').FirstOrDefault(line => Regex.IsMatch(line, pattern)) ?? "";

    private static string Compile(PTXBackend backend, MethodInfo kernel)
    {
        var entry = EntryPointDescription.FromExplicitlyGroupedKernel(kernel);
        return ((PTXCompiledKernel)backend.Compile(entry, new KernelSpecialization())).PTXAssembly;
    }
}
