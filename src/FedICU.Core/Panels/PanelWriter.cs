using FedICU.Compute;
using FedICU.Memory;

namespace FedICU.Panels;

/// <summary>
/// Writes one output tensor panel by panel. Panels are made in the sink's own memory if the sink lends it; otherwise
/// they are made in scratch memory and then written to the sink.
/// </summary>
internal readonly unsafe struct PanelWriter
{
    private readonly TensorSink? _sink;
    private readonly TensorInfo _tensor;
    // the whole tensor in the sink's memory; without data if the sink lends none
    private readonly TensorPanel _lent;

    /// <summary>Begins the output of a tensor.</summary>
    /// <param name="sink">The sink; null writes nothing.</param>
    /// <param name="tensor">The tensor in the output.</param>
    /// <param name="onDevice">Whether the sink's memory is on its device.</param>
    public PanelWriter(TensorSink? sink, TensorInfo tensor, bool onDevice = false)
    {
        (_sink, _tensor) = (sink, tensor);
        void* lent = sink is null ? null : onDevice ? (void*)sink.AddressOnDevice(tensor) : sink.TryGetPointer(tensor);
        _lent = new TensorPanel(lent, tensor.DType, onDevice);
    }

    /// <summary>
    /// Returns the memory for elements start .. start + count - 1; a panel without data if there is no sink.
    /// </summary>
    public TensorPanel Begin(long start, int count, Scratch scratch)
    {
        if (_sink is null || _lent.Data is not null)
            return _lent.From(start);
        return new TensorPanel(scratch.Take((long)count * (_tensor.DType.BitSize / 8)), _tensor.DType, _lent.OnDevice);
    }

    /// <summary>Writes the panel that <see cref="Begin"/> returned, unless it was made in the sink's memory.</summary>
    public void End(TensorPanel panel, long start, int count)
    {
        int size = _tensor.DType.BitSize / 8;
        if (_sink is not null && _lent.Data is null)
            _sink.Write(_tensor, start * size, new ReadOnlySpan<byte>(panel.Data, count * size));
    }
}
