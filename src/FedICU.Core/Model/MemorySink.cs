using FedICU.Safetensors;

namespace FedICU;

/// <summary>
/// Keeps the model written to it in native memory, readable through <see cref="Model"/> until the next one is committed or the sink is disposed.
/// A sink used for one round after the other needs memory for two models.
/// </summary>
public sealed unsafe class MemorySink : TensorSink, IDisposable
{
    private bool _isBegun;
    private Written? _begun;
    private Written? _committed;
    // the memory of the model before the last: fresh pages cost more than the sums written to them
    private Written? _spare;

    /// <summary>The model last committed.</summary>
    /// <exception cref="InvalidOperationException">None was.</exception>
    public MemoryModel Model => _committed?.Model ?? throw new InvalidOperationException("No model has been committed to this sink.");

    /// <inheritdoc/>
    public override void Begin(IReadOnlyList<TensorInfo> tensors, IReadOnlyDictionary<string, string> metadata)
    {
        if (Interlocked.Exchange(ref _isBegun, true))
            throw new InvalidOperationException("A model is being written to this memory already: it must end in Commit or Abort first.");
        try
        {
            _begun = new Written(tensors, metadata, _spare?.TakeBuffers(tensors));
            _spare?.Dispose();
            _spare = null;
        }
        catch
        {
            Abort();
            throw;
        }
    }

    /// <inheritdoc/>
    public override void Write(TensorInfo tensor, long offset, ReadOnlySpan<byte> source) => source.CopyTo(new Span<byte>(Locate(tensor, offset, source.Length), source.Length));

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

    /// <summary>Frees the memory; reading a model from it throws an <see cref="ObjectDisposedException"/> from then on.</summary>
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
        if (!Begun.Buffers.TryGetValue(tensor.Name, out NativeBuffer? buffer))
            throw new ArgumentException($"Tensor {Sentence.Quote(tensor.Name)} is not of the model being written to this memory.", nameof(tensor));
        ArgumentOutOfRangeException.ThrowIfNegative(offset);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(offset, buffer.ByteLength - length);
        return buffer.Pointer + offset;
    }

    private sealed class Written : IDisposable
    {
        public Written(IReadOnlyList<TensorInfo> tensors, IReadOnlyDictionary<string, string> metadata, Dictionary<string, NativeBuffer>? buffers)
        {
            Metadata = new(metadata, StringComparer.Ordinal);
            Model = new MemoryModel(Metadata);
            Buffers = buffers ?? tensors.ToDictionary(tensor => tensor.Name, tensor => new NativeBuffer(tensor.ByteLength), StringComparer.Ordinal);
            foreach (TensorInfo tensor in tensors)
                Model.Add(tensor, Buffers[tensor.Name]);
        }

        public Dictionary<string, string> Metadata { get; }

        public MemoryModel Model { get; }

        public Dictionary<string, NativeBuffer> Buffers { get; }

        /// <summary>Hands the memory on to a model of the same tensors, and none of it stays readable here; null where they differ.</summary>
        public Dictionary<string, NativeBuffer>? TakeBuffers(IReadOnlyList<TensorInfo> tensors)
        {
            if (!Model.Tensors.SequenceEqual(tensors))
                return null;
            var taken = Buffers.ToDictionary(buffer => buffer.Key, buffer => buffer.Value.Move(), StringComparer.Ordinal);
            Buffers.Clear();
            return taken;
        }

        public void Dispose()
        {
            foreach (NativeBuffer buffer in Buffers.Values)
                buffer.Dispose();
            Buffers.Clear();
        }
    }
}
