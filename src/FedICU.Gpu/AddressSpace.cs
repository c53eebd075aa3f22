using ILGPU;
using ILGPU.Runtime;
using ILGPU.Runtime.CPU;
using ILGPU.Runtime.Cuda;

namespace FedICU.Gpu;

/// <summary>
/// All of a device's memory as one buffer from address 0 on, so that a kernel's inputs can lie anywhere: an offset is an address. Of devices with addresses only, which OpenCL's
/// have not.
/// </summary>
internal sealed class AddressSpace : MemoryBuffer
{
    private readonly CPUMemoryBuffer? _host;

    /// <summary>Makes it.</summary>
    /// <exception cref="NotSupportedException">The device has no addresses.</exception>
    public AddressSpace(Accelerator accelerator) : base(accelerator, long.MaxValue, sizeof(byte))
    {
        if (accelerator is CPUAccelerator)
            _host = CPUMemoryBuffer.Create(accelerator, IntPtr.Zero, long.MaxValue, sizeof(byte));
        else if (accelerator is not CudaAccelerator)
            throw new NotSupportedException("Tensors on the device need one whose memory has addresses: CUDA.");
        NativePtr = IntPtr.Zero;
    }

    /// <summary>The bytes from an address on.</summary>
    public ArrayView<byte> At(nint address, long length) => _host?.AsRawArrayView(address, length) ?? AsRawArrayView(address, length);

    protected override void MemSet(AcceleratorStream stream, byte value, in ArrayView<byte> targetView) => CudaMemoryBuffer.CudaMemSet((CudaStream)stream, value, targetView);

    protected override void CopyFrom(AcceleratorStream stream, in ArrayView<byte> sourceView, in ArrayView<byte> targetView) =>
        CudaMemoryBuffer.CudaCopy((CudaStream)stream, sourceView, targetView);

    protected override void CopyTo(AcceleratorStream stream, in ArrayView<byte> sourceView, in ArrayView<byte> targetView) =>
        CudaMemoryBuffer.CudaCopy((CudaStream)stream, sourceView, targetView);

    // the memory is others'
    protected override void DisposeAcceleratorObject(bool disposing) => _host?.Dispose();
}
