using System.Collections.Frozen;
using FedICU.Compute;
using ILGPU;
using ILGPU.Runtime;

namespace FedICU.Gpu;

/// <summary>
/// Tensors in the memory of a CUDA device: copies, or memory that the caller has there already. Synchronize the streams
/// that write them first; this type does not.
/// </summary>
/// <remarks>
/// A round computes on the device if the global model and all clients are there and the backend uses the same device.
/// Otherwise it reads copies. Add all tensors before the first use.
/// </remarks>
public sealed class DeviceTensors : TensorSource
{
    private readonly GpuBackend _backend;
    private readonly List<TensorInfo> _tensors = [];
    private readonly Dictionary<string, (nint Address, MemoryBuffer? Owned)> _memory = new(StringComparer.Ordinal);
    private readonly IReadOnlyDictionary<string, string> _metadata;

    /// <summary>Creates a model without tensors.</summary>
    /// <param name="backend">The backend of the device. It must not be disposed before the tensors.</param>
    /// <param name="metadata">The model's metadata; null for none.</param>
    /// <exception cref="NotSupportedException">The device is not a CUDA device.</exception>
    public DeviceTensors(GpuBackend backend, IReadOnlyDictionary<string, string>? metadata = null)
    {
        ArgumentNullException.ThrowIfNull(backend);
        // throws if the device has no addresses
        _ = backend.Memory.Addresses;
        (_backend, _metadata) = (backend, metadata ?? FrozenDictionary<string, string>.Empty);
    }

    /// <summary>Copies a whole model to the device.</summary>
    public static DeviceTensors CopyOf(TensorSource model, GpuBackend backend)
    {
        ArgumentNullException.ThrowIfNull(model);
        // the sink is not disposed: that would free the model, which belongs to the caller
        var sink = new DeviceSink(backend);
        model.SaveTo(sink);
        return sink.Model;
    }

    /// <summary>Adds a tensor and allocates its memory on the device. The memory is not cleared.</summary>
    public void Add(TensorInfo tensor)
    {
        ArgumentNullException.ThrowIfNull(tensor);
        MemoryBuffer memory = _backend.Memory.Allocate(Math.Max(tensor.ByteLength, 1));
        Add(tensor, memory.NativePtr, memory);
    }

    /// <summary>Adds a tensor that the caller has on the device. The caller keeps its memory and frees it.</summary>
    /// <param name="tensor">The tensor's name, type and shape.</param>
    /// <param name="address">
    /// The device address of the first byte, a multiple of the element's size. The elements are row-major and
    /// contiguous. The backend's context must be able to access the memory.
    /// </param>
    public void Add(TensorInfo tensor, nint address) => Add(tensor, address, null);

    /// <summary>
    /// Adds a tensor that the caller has in an ILGPU view of the same device. The caller keeps its memory and frees it.
    /// </summary>
    /// <param name="tensor">The tensor's name, type and shape.</param>
    /// <param name="view">The tensor's bytes.</param>
    public void Add(TensorInfo tensor, ArrayView<byte> view)
    {
        ArgumentNullException.ThrowIfNull(tensor);
        if (view.Length != tensor.ByteLength)
        {
            throw new ArgumentException(
                $"Tensor '{tensor.Name}' of {tensor} has {tensor.ByteLength} bytes; the view has {view.Length}.", nameof(view));
        }

        Add(tensor, view.Length == 0 ? 0 : view.LoadEffectiveAddressAsPtr());
    }

    /// <inheritdoc/>
    public override IReadOnlyList<TensorInfo> Tensors => _tensors;

    /// <inheritdoc/>
    public override IReadOnlyDictionary<string, string> Metadata => _metadata;

    /// <inheritdoc/>
    public override string Location => "memory";

    /// <inheritdoc/>
    public override bool IsInMemory => true;

    /// <inheritdoc/>
    public override void Read(TensorInfo tensor, long offset, Span<byte> destination) =>
        _backend.Read(Locate(tensor, offset, destination.Length), destination);

    /// <summary>Copies bytes from the host to a tensor.</summary>
    /// <param name="tensor">One of <see cref="Tensors"/>.</param>
    /// <param name="offset">The offset of the first byte in the tensor's data.</param>
    /// <param name="source">The bytes, little-endian and row-major.</param>
    public void Write(TensorInfo tensor, long offset, ReadOnlySpan<byte> source) =>
        _backend.Write(Locate(tensor, offset, source.Length), source);

    /// <summary>Returns the device address of a tensor's first byte.</summary>
    public nint AddressOf(TensorInfo tensor) => Locate(tensor, 0, 0);

    internal override object? Device => ((IComputeBackend)_backend).Device;

    internal override nint AddressOnDevice(TensorInfo tensor) => Locate(tensor, 0, 0);

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        foreach ((nint _, MemoryBuffer? owned) in _memory.Values)
            DeviceFailure.Free(owned);
        _memory.Clear();
        base.Dispose(disposing);
    }

    private void Add(TensorInfo tensor, nint address, MemoryBuffer? owned)
    {
        ArgumentNullException.ThrowIfNull(tensor);
        int size = Math.Max(tensor.DType.BitSize / 8, 1);
        if (address % size != 0)
        {
            throw new ArgumentException(
                $"Tensor '{tensor.Name}' of {tensor}: the address {address} is not a multiple of {size}.", nameof(address));
        }

        if (!_memory.TryAdd(tensor.Name, (address, owned)))
        {
            owned?.Dispose();
            throw new ArgumentException($"Tensor '{tensor.Name}' has already been added.", nameof(tensor));
        }

        _tensors.Add(tensor);
        ResetIndex();
    }

    private nint Locate(TensorInfo tensor, long offset, long length)
    {
        ArgumentNullException.ThrowIfNull(tensor);
        if (!_memory.TryGetValue(tensor.Name, out (nint Address, MemoryBuffer? Owned) memory) || Find(tensor.Name) != tensor)
            throw new ArgumentException($"Tensor '{tensor.Name}' of {tensor} is not in this model.", nameof(tensor));
        ArgumentOutOfRangeException.ThrowIfNegative(offset);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(length, tensor.ByteLength - offset, nameof(offset));
        return memory.Address + (nint)offset;
    }
}
