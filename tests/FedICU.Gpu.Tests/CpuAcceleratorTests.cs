using FedICU.Compute;
using FedICU.Gpu.Kernels;
using FedICU.Tests.Compute;
using ILGPU;
using ILGPU.Runtime.CPU;

namespace FedICU.Gpu.Tests;

/// <summary>The contract on ILGPU's debugging device, in chunks so small that verbs take many.</summary>
internal sealed class CpuAcceleratorContractTests() : BackendContractTests(CreateBackend)
{
    internal static GpuBackend CreateBackend()
    {
        Context context = Context.Create(builder => builder.CPU(new CPUDevice(4, 1, 1)).Math(MathMode.Default).Optimize(OptimizationLevel.O2));
        DeviceMath.Register(context);
        return new GpuBackend(context, context.CreateCPUAccelerator(0, CPUAcceleratorMode.Sequential), "cpu-accelerator", 64 << 10);
    }
}
