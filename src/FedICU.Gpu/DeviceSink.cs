using FedICU.Compute;

namespace FedICU.Gpu;

/// <summary>
/// Writes models to the memory of a CUDA device. <see cref="Model"/> is the last one, until the next is committed or
/// the sink is disposed.
/// </summary>
/// <param name="backend">The backend of the device. It must not be disposed before the sink.</param>
public sealed class DeviceSink(GpuBackend backend) : TensorSink, IDisposable
{
    private DeviceTensors? _open, _committed;

    /// <summary>Gets the last committed model.</summary>
    /// <exception cref="InvalidOperationException">No model has been committed.</exception>
    public DeviceTensors Model => _committed ?? throw new InvalidOperationException("No model has been committed to this sink.");

    /// <inheritdoc/>
    public override void Begin(IReadOnlyList<TensorInfo> tensors, IReadOnlyDictionary<string, string> metadata)
    {
        ArgumentNullException.ThrowIfNull(tensors);
        if (_open is not null)
        {
            throw new InvalidOperationException(
                "A model is already being written to this device; call Commit or Abort before Begin.");
        }

        var model = new DeviceTensors(backend, metadata);
        try
        {
            foreach (TensorInfo tensor in tensors)
                model.Add(tensor);
        }
        catch
        {
            model.Dispose();
            throw;
        }

        _open = model;
    }

    /// <inheritdoc/>
    public override void Write(TensorInfo tensor, long offset, ReadOnlySpan<byte> source) => OpenModel.Write(tensor, offset, source);

    /// <inheritdoc/>
    public override void Commit()
    {
        DeviceTensors model = OpenModel;
        _committed?.Dispose();
        (_committed, _open) = (model, null);
    }

    /// <inheritdoc/>
    public override void Abort()
    {
        _open?.Dispose();
        _open = null;
    }

    internal override object? Device => ((IComputeBackend)backend).Device;

    internal override nint AddressOnDevice(TensorInfo tensor) => OpenModel.AddressOf(tensor);

    /// <summary>Frees the models' memory.</summary>
    public void Dispose()
    {
        Abort();
        _committed?.Dispose();
        _committed = null;
    }

    private DeviceTensors OpenModel => _open ?? throw new InvalidOperationException("No model is being written to this device.");
}
