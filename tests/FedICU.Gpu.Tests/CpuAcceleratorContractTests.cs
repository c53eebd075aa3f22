using FedICU.Tests.Compute;
using ILGPU;
using ILGPU.Runtime.CPU;

namespace FedICU.Gpu.Tests;

/// <summary>
/// Runs the contract of all backends on ILGPU's CPU accelerator, with chunks so small that verbs need many.
/// </summary>
[TestFixture(false)]
[TestFixture(true, Explicit = true, Category = "Exhaustive")]
internal sealed class CpuAcceleratorContractTests(bool everyShape) : BackendContractTests(CreateBackend, everyShape)
{
    internal static GpuBackend CreateBackend()
    {
        Context context = GpuDrivers.CreateContext(builder => builder.CPU(new CPUDevice(4, 1, 1)));
        return new GpuBackend(context, context.CreateCPUAccelerator(0, CPUAcceleratorMode.Sequential), "cpu-accelerator", 64 << 10);
    }
}
