namespace FedICU;

/// <summary>
/// Where a model is written: a file, a folder, memory. A sink is told the whole model's schema first, takes the tensors' bytes in any order, from
/// several threads, and ends in <see cref="Commit"/>, which makes the whole new model visible at once, or <see cref="Abort"/>, which leaves what
/// was there before. A sink serves one model at a time; after either end it may begin again.
/// </summary>
public abstract partial class TensorSink
{
    /// <summary>Begins a model. Where this throws, none was begun, and <see cref="Abort"/> is not called.</summary>
    /// <param name="tensors">Every tensor that will be written, in the order of the output.</param>
    /// <param name="metadata">The output's metadata.</param>
    /// <exception cref="FedIcuException">The place cannot be written.</exception>
    /// <exception cref="InvalidOperationException">Another model is being written; it goes on undisturbed.</exception>
    public abstract void Begin(IReadOnlyList<TensorInfo> tensors, IReadOnlyDictionary<string, string> metadata);

    /// <summary>Writes bytes of one tensor's data; thread-safe for ranges that do not overlap.</summary>
    /// <param name="tensor">One of the tensors given to <see cref="Begin"/>.</param>
    /// <param name="offset">The first byte, counted from the start of the tensor's data.</param>
    /// <param name="source">The bytes, little-endian and row-major.</param>
    public abstract void Write(TensorInfo tensor, long offset, ReadOnlySpan<byte> source);

    /// <summary>The address of a tensor's data where the sink holds it in memory, so that results can be put there without a copy; null elsewhere.</summary>
    /// <param name="tensor">One of the tensors given to <see cref="Begin"/>.</param>
    public virtual unsafe void* TryGetPointer(TensorInfo tensor) => null;

    /// <summary>What owns the memory that the model is written to, where that is not the host's.</summary>
    internal virtual object? Device => null;

    /// <summary>The address of a tensor's first byte on <see cref="Device"/>.</summary>
    internal virtual nint AddressOnDevice(TensorInfo tensor) => throw new NotSupportedException();

    /// <summary>Makes the whole model visible at once.</summary>
    /// <exception cref="InvalidOperationException">None was begun.</exception>
    public abstract void Commit();

    /// <summary>Discards what was written since <see cref="Begin"/>; what was there before stays. Does nothing after <see cref="Commit"/>.</summary>
    public abstract void Abort();

    /// <summary>Whether the sink takes other metadata after <see cref="Begin"/>.</summary>
    internal virtual bool CanAmend => false;

    /// <summary>Replaces the metadata by others with the same keys, whose values are as long: for what is known only when all is written.</summary>
    internal virtual void Amend(IReadOnlyDictionary<string, string> metadata) => throw new NotSupportedException();

    /// <summary>The file or folder that is written, null where the sink has none.</summary>
    internal virtual (string Path, bool IsFolder)? Place => null;

    /// <summary>A sink that keeps nothing: for rounds that are run for their report.</summary>
    public static TensorSink Discard => new DiscardingSink();

    private sealed class DiscardingSink : TensorSink
    {
        public override void Begin(IReadOnlyList<TensorInfo> tensors, IReadOnlyDictionary<string, string> metadata) { }

        public override void Write(TensorInfo tensor, long offset, ReadOnlySpan<byte> source) { }

        internal override bool CanAmend => true;

        internal override void Amend(IReadOnlyDictionary<string, string> metadata) { }

        public override void Commit() { }

        public override void Abort() { }
    }
}
