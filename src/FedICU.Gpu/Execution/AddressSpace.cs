using ILGPU;
using ILGPU.Runtime;
using ILGPU.Runtime.CPU;
using ILGPU.Runtime.Cuda;

namespace FedICU.Gpu.Execution;

/// <summary>
/// All memory of a device as one buffer that starts at address 0. An offset in this buffer is an address, so a kernel's
/// inputs can be anywhere on the device. Only CUDA devices and ILGPU's CPU accelerator have such addresses; OpenCL
/// devices do not.
/// </summary>
internal sealed class AddressSpace : MemoryBuffer
{
    private readonly CPUMemoryBuffer? _host;

    /// <summary>Creates the buffer.</summary>
    /// <exception cref="NotSupportedException">The device has no addresses.</exception>
    public AddressSpace(Accelerator accelerator) : base(accelerator, long.MaxValue, sizeof(byte))
    {
        if (!IsSupportedBy(accelerator))
            throw new NotSupportedException("Tensors on the device require CUDA; this device's memory has no addresses.");
        if (accelerator is CPUAccelerator)
            _host = CPUMemoryBuffer.Create(accelerator, IntPtr.Zero, long.MaxValue, sizeof(byte));
        NativePtr = IntPtr.Zero;
    }

    /// <summary>Returns whether a device's memory has addresses.</summary>
    public static bool IsSupportedBy(Accelerator accelerator) =>
        accelerator.AcceleratorType is AcceleratorType.Cuda or AcceleratorType.CPU;

    /// <summary>Returns a view of the memory at an address.</summary>
    public ArrayView<byte> At(nint address, long length) => _host?.AsRawArrayView(address, length) ?? AsRawArrayView(address, length);

    protected override void MemSet(AcceleratorStream stream, byte value, in ArrayView<byte> targetView) =>
        CudaMemoryBuffer.CudaMemSet((CudaStream)stream, value, targetView);

    protected override void CopyFrom(AcceleratorStream stream, in ArrayView<byte> sourceView, in ArrayView<byte> targetView) =>
        CudaMemoryBuffer.CudaCopy((CudaStream)stream, sourceView, targetView);

    protected override void CopyTo(AcceleratorStream stream, in ArrayView<byte> sourceView, in ArrayView<byte> targetView) =>
        CudaMemoryBuffer.CudaCopy((CudaStream)stream, sourceView, targetView);

    // this buffer does not own the memory
    protected override void DisposeAcceleratorObject(bool disposing) => _host?.Dispose();
}
