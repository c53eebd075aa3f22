namespace FedICU;

/// <summary>
/// Keeps the model written to it in native memory, readable through <see cref="Model"/> until the next one is committed or the sink is disposed.
/// A sink used for one round after the other needs memory for two models.
/// </summary>
public sealed unsafe class MemorySink : TensorSink, IDisposable
{
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
        Abort();
        _begun = new Written(tensors, metadata, _spare?.TakeBuffers(tensors));
        _spare?.Dispose();
        _spare = null;
    }

    /// <inheritdoc/>
    public override void Write(TensorInfo tensor, long offset, ReadOnlySpan<byte> source) =>
        source.CopyTo(new Span<byte>((byte*)TryGetPointer(tensor) + offset, source.Length));

    /// <inheritdoc/>
    public override void* TryGetPointer(TensorInfo tensor) => _begun!.Buffers[tensor.Name].Pointer;

    /// <inheritdoc/>
    public override void Commit()
    {
        _spare?.Dispose();
        (_spare, _committed, _begun) = (_committed, _begun, null);
    }

    /// <inheritdoc/>
    public override void Abort()
    {
        _begun?.Dispose();
        _begun = null;
    }

    /// <summary>Frees the memory; <see cref="Model"/> is unusable from then on.</summary>
    public void Dispose()
    {
        Abort();
        _committed?.Dispose();
        _spare?.Dispose();
        _committed = _spare = null;
    }

    private sealed class Written : IDisposable
    {
        public Written(IReadOnlyList<TensorInfo> tensors, IReadOnlyDictionary<string, string> metadata, Dictionary<string, NativeBuffer>? buffers)
        {
            Model = new MemoryModel(metadata);
            Buffers = buffers ?? tensors.ToDictionary(tensor => tensor.Name, tensor => new NativeBuffer(tensor.ByteLength), StringComparer.Ordinal);
            foreach (TensorInfo tensor in tensors)
                Model.Add(tensor, (nint)Buffers[tensor.Name].Pointer);
        }

        public MemoryModel Model { get; }

        public Dictionary<string, NativeBuffer> Buffers { get; private set; }

        /// <summary>Hands the memory on to a model of the same tensors; null where they differ.</summary>
        public Dictionary<string, NativeBuffer>? TakeBuffers(IReadOnlyList<TensorInfo> tensors)
        {
            if (!Model.Tensors.SequenceEqual(tensors))
                return null;
            Dictionary<string, NativeBuffer> taken = Buffers;
            Buffers = [];
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
