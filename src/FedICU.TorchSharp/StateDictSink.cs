using TorchSharp;
using static TorchSharp.torch;

namespace FedICU.TorchSharp;

/// <summary>
/// Makes a state dict of new tensors for <c>module.load_state_dict</c>, each on the device of its counterpart. The
/// tensors of an unfinished model are freed.
/// </summary>
/// <param name="like">The state dict whose devices the result takes over, by name.</param>
public sealed unsafe class StateDictSink(IEnumerable<KeyValuePair<string, Tensor>> like) : TensorSink
{
    private readonly Dictionary<string, Device> _devices =
        like.ToDictionary(entry => entry.Key, entry => entry.Value.device, StringComparer.Ordinal);

    private Dictionary<string, Tensor>? _pending, _committed;

    /// <summary>Gets the tensors of the last committed model. The caller must dispose of them.</summary>
    /// <exception cref="InvalidOperationException">No model has been committed.</exception>
    public Dictionary<string, Tensor> StateDict =>
        _committed ?? throw new InvalidOperationException("No model has been committed to this sink.");

    /// <inheritdoc/>
    public override void Begin(IReadOnlyList<TensorInfo> tensors, IReadOnlyDictionary<string, string> metadata)
    {
        ArgumentNullException.ThrowIfNull(tensors);
        Abort();
        _pending = new Dictionary<string, Tensor>(StringComparer.Ordinal);
        foreach (TensorInfo tensor in tensors)
        {
            Tensor made = empty(tensor.Shape.Dimensions, StateDictModel.TypeOf(tensor), CPU);
            _pending.Add(tensor.Name, made.DetachFromDisposeScope());
        }
    }

    /// <inheritdoc/>
    public override void Write(TensorInfo tensor, long offset, ReadOnlySpan<byte> source)
    {
        ArgumentNullException.ThrowIfNull(tensor);
        source.CopyTo(new Span<byte>((byte*)TryGetPointer(tensor) + offset, source.Length));
    }

    /// <inheritdoc/>
    public override void* TryGetPointer(TensorInfo tensor)
    {
        ArgumentNullException.ThrowIfNull(tensor);
        return tensor.ByteLength == 0 ? null : (void*)StateDictModel.AddressOf(Pending[tensor.Name]);
    }

    /// <inheritdoc/>
    public override void Commit()
    {
        Dictionary<string, Tensor> pending = Pending;
        foreach (string name in pending.Keys)
        {
            if (!_devices.TryGetValue(name, out Device? device) || device.type == DeviceType.CPU)
                continue;
            Tensor onCpu = pending[name];
            pending[name] = onCpu.to(device).DetachFromDisposeScope();
            onCpu.Dispose();
        }

        (_committed, _pending) = (pending, null);
    }

    /// <inheritdoc/>
    public override void Abort()
    {
        foreach (Tensor tensor in _pending?.Values.AsEnumerable() ?? [])
            tensor.Dispose();
        _pending = null;
    }

    private Dictionary<string, Tensor> Pending =>
        _pending ?? throw new InvalidOperationException("No model is being written to this sink.");
}
