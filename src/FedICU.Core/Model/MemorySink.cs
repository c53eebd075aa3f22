using FedICU.Memory;
using FedICU.Model;
using FedICU.Text;

namespace FedICU;

/// <summary>
/// Keeps the model written to it in native memory. <see cref="Model"/> stays readable until the next model is committed
/// or the sink is disposed. A sink used for successive rounds needs memory for two models.
/// </summary>
public sealed unsafe class MemorySink : TensorSink, IDisposable
{
    private bool _isBegun;
    private Written? _begun;
    private Written? _committed;
    // The memory of the last but one model. Reusing it is faster: fresh pages cost more than the sums written to them.
    private Written? _spare;

    /// <summary>Gets the model committed last.</summary>
    /// <exception cref="InvalidOperationException">No model has been committed.</exception>
    public MemoryModel Model => _committed?.Model ?? throw new InvalidOperationException("No model has been committed to this sink.");

    /// <inheritdoc/>
    public override void Begin(IReadOnlyList<TensorInfo> tensors, IReadOnlyDictionary<string, string> metadata)
    {
        if (Interlocked.Exchange(ref _isBegun, true))
            throw new InvalidOperationException("A model is already being written to this memory: call Commit or Abort first.");
        try
        {
            MemoryLayout? last = _committed?.Layout;
            MemoryLayout layout = last is not null && last.Tensors.SequenceEqual(tensors) ? last : new MemoryLayout(tensors);
            // Moving the memory makes the old model unreadable, so that it never shows the new model's data.
            NativeBuffer? memory = _spare?.Memory.ByteLength == layout.Bytes ? _spare.Memory.Move() : null;
            _spare?.Dispose();
            _spare = null;
            _begun = new Written(layout, metadata, memory ?? new NativeBuffer(layout.Bytes));
        }
        catch
        {
            Abort();
            throw;
        }
    }

    /// <inheritdoc/>
    public override void Write(TensorInfo tensor, long offset, ReadOnlySpan<byte> source) =>
        source.CopyTo(new Span<byte>(Locate(tensor, offset, source.Length), source.Length));

    /// <inheritdoc/>
    public override void* TryGetPointer(TensorInfo tensor) => Locate(tensor, 0, tensor.ByteLength);

    internal override bool CanAmend => true;

    internal override void Amend(IReadOnlyDictionary<string, string> metadata)
    {
        foreach ((string key, string value) in metadata)
            Begun.Metadata[key] = value;
    }

    /// <inheritdoc/>
    public override void Commit()
    {
        Written begun = Begun;
        _spare?.Dispose();
        (_spare, _committed, _begun, _isBegun) = (_committed, begun, null, false);
    }

    /// <inheritdoc/>
    public override void Abort()
    {
        _begun?.Dispose();
        (_begun, _isBegun) = (null, false);
    }

    /// <summary>
    /// Frees the memory. Reading a model of this sink afterwards throws an <see cref="ObjectDisposedException"/>.
    /// </summary>
    public void Dispose()
    {
        Abort();
        _committed?.Dispose();
        _spare?.Dispose();
        _committed = _spare = null;
    }

    private Written Begun => _begun ?? throw new InvalidOperationException("No model is being written to this memory.");

    private byte* Locate(TensorInfo tensor, long offset, long length)
    {
        Written begun = Begun;
        MemoryLayout.Place place = begun.Layout.Locate(tensor, offset, length)
            ?? throw new ArgumentException(
                $"Tensor {Sentence.Quote(tensor.Name)} is not part of the model being written to this memory.", nameof(tensor));
        return begun.Memory.Pointer + place.Offset + offset;
    }

    private sealed class Written : IDisposable
    {
        public Written(MemoryLayout layout, IReadOnlyDictionary<string, string> metadata, NativeBuffer memory)
        {
            (Layout, Memory, Metadata) = (layout, memory, new(metadata, StringComparer.Ordinal));
            Model = new(Metadata, layout, memory);
        }

        public MemoryLayout Layout { get; }

        public Dictionary<string, string> Metadata { get; }

        public MemoryModel Model { get; }

        public NativeBuffer Memory { get; }

        public void Dispose() => Memory.Dispose();
    }
}
