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

/// <summary>Every kernel with every type compiles for CUDA with no device there, and what it compiles to is what is claimed of it.</summary>
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
    public void EveryKernelCompilesToWhatIsClaimed([ValueSource(nameof(Targets))] (CudaArchitecture Architecture, CudaInstructionSet Set) target)
    {
        using Context context = Context.Create(builder => builder.CPU().Math(MathMode.Default).Optimize(OptimizationLevel.O2));
        DeviceMath.Register(context);
        using var backend = new PTXBackend(context, new CudaCapabilityContext(target.Architecture), target.Architecture, target.Set, null!);
        int kernels = 0;
        foreach (MethodInfo kernel in KernelSet.All())
        {
            string name = $"{kernel.Name}<{string.Join(", ", kernel.GetGenericArguments().Select(type => type.Name))}>", ptx = Compile(backend, kernel);
            kernels++;
            Assert.Multiple(() =>
            {
                Assert.That(Find(ptx, @"\.extern \.func"), Is.Empty, $"{name} calls what is nowhere");
                Assert.That(Find(ptx, @"\.approx|\.ftz"), Is.Empty, $"{name} rounds as it likes");
                Assert.That(Find(ptx, @"\.local "), Is.Empty, $"{name} keeps arrays in memory");
                Assert.That(Find(ptx, @"(fma|mad|add|mul|div|sub)(\.rn)?\.f32"), Is.Empty, $"{name} computes in float32");
                Assert.That(Find(ptx, @"\b(atom|red)\."), Is.Empty, $"{name} has atomics");
                if (kernel.Name.StartsWith("WeightedSum", StringComparison.Ordinal))
                {
                    Assert.That(Find(ptx, @"fma\.rn\.f64"), Is.Not.Empty, $"{name} does not fuse");
                    Assert.That(Find(ptx, @"div\.rn\.f64"), Is.Not.Empty, $"{name} does not divide");
                }

                if (kernel.Name == nameof(Sums.WeightedSum))
                {
                    Assert.That(Find(ptx, @"ld\.global\.v4\.b32"), Is.Not.Empty, $"{name} reads less than sixteen bytes at once");
                    Assert.That(Find(ptx, @"st\.global\.v4\.b32"), Is.Not.Empty, $"{name} writes less than sixteen bytes at once");
                }
            });
        }

        TestContext.Out.WriteLine($"{kernels} kernels for {target.Architecture}, {target.Set}");
        Assert.That(kernels, Is.GreaterThan(100));
    }

    /// <summary>The first line with a match; empty where there is none.</summary>
    private static string Find(string ptx, string pattern) => ptx.Split('\n').FirstOrDefault(line => Regex.IsMatch(line, pattern)) ?? "";

    private static string Compile(PTXBackend backend, MethodInfo kernel) =>
        ((PTXCompiledKernel)backend.Compile(EntryPointDescription.FromExplicitlyGroupedKernel(kernel), new KernelSpecialization())).PTXAssembly;
}
