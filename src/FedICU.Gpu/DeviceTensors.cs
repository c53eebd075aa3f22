using System.Collections.Frozen;
using ILGPU;
using ILGPU.Runtime;

namespace FedICU.Gpu;

/// <summary>
/// Tensors in the memory of a CUDA device: copies, or what the caller has there already, complete: whatever writes them must have been waited for, as no stream is waited for here. Where the global model, all clients
/// and the backend are of one device, a round computes there; others read copies. Add all tensors before it is used.
/// </summary>
public sealed class DeviceTensors : TensorSource
{
    private readonly GpuBackend _backend;
    private readonly List<TensorInfo> _tensors = [];
    private readonly Dictionary<string, (nint Address, MemoryBuffer? Owned)> _places = new(StringComparer.Ordinal);
    private readonly IReadOnlyDictionary<string, string> _metadata;

    /// <summary>Begins with no tensor.</summary>
    /// <param name="backend">The backend of the device; it must live as long.</param>
    /// <param name="metadata">The model's metadata; null: none.</param>
    /// <exception cref="NotSupportedException">The device is not one of CUDA.</exception>
    public DeviceTensors(GpuBackend backend, IReadOnlyDictionary<string, string>? metadata = null)
    {
        ArgumentNullException.ThrowIfNull(backend);
        _ = backend.Addresses;
        (_backend, _metadata) = (backend, metadata ?? FrozenDictionary<string, string>.Empty);
    }

    /// <summary>Copies a whole model to the device.</summary>
    public static DeviceTensors CopyOf(TensorSource model, GpuBackend backend)
    {
        ArgumentNullException.ThrowIfNull(model);
        // what the sink has committed is the caller's: the sink is not disposed of
        var sink = new DeviceSink(backend);
        model.SaveTo(sink);
        return sink.Model;
    }

    /// <summary>A tensor of memory of its own on the device, not cleared.</summary>
    public void Add(TensorInfo tensor)
    {
        ArgumentNullException.ThrowIfNull(tensor);
        MemoryBuffer memory = _backend.Allocate(Math.Max(tensor.ByteLength, 1));
        Add(tensor, memory.NativePtr, memory);
    }

    /// <summary>A tensor that the caller has on the device.</summary>
    /// <param name="tensor">Its name, type and shape.</param>
    /// <param name="address">The device's address of its first byte, a multiple of the element's size: row-major, without gaps, and reachable from the backend's own context. Borrowed.</param>
    public void Add(TensorInfo tensor, nint address) => Add(tensor, address, null);

    /// <summary>A tensor that the caller has in a view of ILGPU, of the same device.</summary>
    /// <param name="tensor">Its name, type and shape.</param>
    /// <param name="view">As many bytes as the tensor has; borrowed.</param>
    public void Add(TensorInfo tensor, ArrayView<byte> view)
    {
        ArgumentNullException.ThrowIfNull(tensor);
        if (view.Length != tensor.ByteLength)
            throw new ArgumentException($"Tensor '{tensor.Name}' of {tensor} has {tensor.ByteLength} bytes; the view has {view.Length}.", nameof(view));
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
    public override void Read(TensorInfo tensor, long offset, Span<byte> destination) => _backend.Read(Locate(tensor, offset, destination.Length), destination);

    /// <summary>Copies bytes to a tensor.</summary>
    /// <param name="tensor">One of <see cref="Tensors"/>.</param>
    /// <param name="offset">The first byte, counted from the start of the tensor's data.</param>
    /// <param name="source">The bytes, little-endian and row-major.</param>
    public void Write(TensorInfo tensor, long offset, ReadOnlySpan<byte> source) => _backend.Write(Locate(tensor, offset, source.Length), source);

    /// <summary>The device's address of a tensor's first byte.</summary>
    public nint AddressOf(TensorInfo tensor) => Locate(tensor, 0, 0);

    internal override object? Device => ((Compute.IComputeBackend)_backend).Device;

    internal override nint AddressOnDevice(TensorInfo tensor) => Locate(tensor, 0, 0);

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        foreach ((nint _, MemoryBuffer? owned) in _places.Values)
            DeviceFailure.Free(owned);
        _places.Clear();
        base.Dispose(disposing);
    }

    private void Add(TensorInfo tensor, nint address, MemoryBuffer? owned)
    {
        ArgumentNullException.ThrowIfNull(tensor);
        int size = Math.Max(tensor.DType.BitSize / 8, 1);
        if (address % size != 0)
            throw new ArgumentException($"Tensor '{tensor.Name}' of {tensor}: its address {address} is no multiple of {size}.", nameof(address));
        if (!_places.TryAdd(tensor.Name, (address, owned)))
        {
            owned?.Dispose();
            throw new ArgumentException($"Tensor '{tensor.Name}' was added already.", nameof(tensor));
        }

        _tensors.Add(tensor);
        ResetIndex();
    }

    private nint Locate(TensorInfo tensor, long offset, long length)
    {
        ArgumentNullException.ThrowIfNull(tensor);
        if (!_places.TryGetValue(tensor.Name, out (nint Address, MemoryBuffer? Owned) place) || Find(tensor.Name) != tensor)
            throw new ArgumentException($"Tensor '{tensor.Name}' of {tensor} is not one of these.", nameof(tensor));
        ArgumentOutOfRangeException.ThrowIfNegative(offset);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(length, tensor.ByteLength - offset, nameof(offset));
        return place.Address + (nint)offset;
    }
}

/// <summary>Keeps the model written to it on a CUDA device, readable through <see cref="Model"/> until the next one is committed or the sink is disposed.</summary>
/// <param name="backend">The backend of the device; it must live as long.</param>
public sealed class DeviceSink(GpuBackend backend) : TensorSink, IDisposable
{
    private DeviceTensors? _begun, _committed;

    /// <summary>The model last committed.</summary>
    /// <exception cref="InvalidOperationException">None was.</exception>
    public DeviceTensors Model => _committed ?? throw new InvalidOperationException("No model has been committed to this sink.");

    /// <inheritdoc/>
    public override void Begin(IReadOnlyList<TensorInfo> tensors, IReadOnlyDictionary<string, string> metadata)
    {
        ArgumentNullException.ThrowIfNull(tensors);
        if (_begun is not null)
            throw new InvalidOperationException("A model is being written to this device already: it must end in Commit or Abort first.");
        var begun = new DeviceTensors(backend, metadata);
        try
        {
            foreach (TensorInfo tensor in tensors)
                begun.Add(tensor);
        }
        catch
        {
            begun.Dispose();
            throw;
        }

        _begun = begun;
    }

    /// <inheritdoc/>
    public override void Write(TensorInfo tensor, long offset, ReadOnlySpan<byte> source) => Begun.Write(tensor, offset, source);

    /// <inheritdoc/>
    public override void Commit()
    {
        DeviceTensors begun = Begun;
        _committed?.Dispose();
        (_committed, _begun) = (begun, null);
    }

    /// <inheritdoc/>
    public override void Abort()
    {
        _begun?.Dispose();
        _begun = null;
    }

    internal override object? Device => ((Compute.IComputeBackend)backend).Device;

    internal override nint AddressOnDevice(TensorInfo tensor) => Begun.AddressOf(tensor);

    /// <summary>Frees the memory.</summary>
    public void Dispose()
    {
        Abort();
        _committed?.Dispose();
        _committed = null;
    }

    private DeviceTensors Begun => _begun ?? throw new InvalidOperationException("No model is being written to this device.");
}
