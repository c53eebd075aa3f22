using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace FedICU;

/// <summary>
/// Keeps the model written to it in native memory, readable through <see cref="Model"/> until the next one is committed or the sink is disposed.
/// A sink used for one round after the other needs memory for two models.
/// </summary>
public sealed unsafe class MemorySink : TensorSink, IDisposable
{
    private const int Alignment = 64;

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
        _begun = new Written(tensors, metadata, _spare?.TakeAddresses(tensors));
        _spare?.Dispose();
        _spare = null;
    }

    /// <inheritdoc/>
    public override void Write(TensorInfo tensor, long offset, ReadOnlySpan<byte> source) =>
        source.CopyTo(new Span<byte>((byte*)TryGetPointer(tensor) + offset, source.Length));

    /// <inheritdoc/>
    public override void* TryGetPointer(TensorInfo tensor) => (void*)_begun!.Addresses[tensor.Name];

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
        GC.SuppressFinalize(this);
    }

    /// <summary>Frees the memory.</summary>
    ~MemorySink()
    {
        _begun?.Dispose();
        _committed?.Dispose();
        _spare?.Dispose();
    }

    private sealed class Written : IDisposable
    {
        public Written(IReadOnlyList<TensorInfo> tensors, IReadOnlyDictionary<string, string> metadata, Dictionary<string, nint>? addresses)
        {
            Model = new MemoryModel(metadata);
            Addresses = addresses ?? tensors.ToDictionary(
                tensor => tensor.Name, tensor => (nint)NativeMemory.AlignedAlloc(checked((nuint)Math.Max(tensor.ByteLength, 1)), Alignment), StringComparer.Ordinal);
            foreach (TensorInfo tensor in tensors)
                Model.Add(tensor, Addresses[tensor.Name]);
        }

        public MemoryModel Model { get; }

        public Dictionary<string, nint> Addresses { get; private set; }

        /// <summary>Hands the memory on to a model of the same tensors; null where they differ.</summary>
        public Dictionary<string, nint>? TakeAddresses(IReadOnlyList<TensorInfo> tensors)
        {
            if (!Model.Tensors.SequenceEqual(tensors))
                return null;
            Dictionary<string, nint> taken = Addresses;
            Addresses = [];
            return taken;
        }

        public void Dispose()
        {
            foreach (nint address in Addresses.Values)
                NativeMemory.AlignedFree((void*)address);
            Addresses.Clear();
        }
    }
}
