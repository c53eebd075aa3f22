namespace FedICU;

/// <summary>
/// A destination for a model: a file, a folder, or memory. First call <see cref="Begin"/> with all tensors, then write
/// the tensors' bytes in any order, from several threads. Finally call <see cref="Commit"/>, which makes the whole
/// model visible at once, or <see cref="Abort"/>, which keeps the previous model. A sink writes one model at a time and
/// may be used again afterwards.
/// </summary>
public abstract partial class TensorSink
{
    /// <summary>
    /// Begins a model. If this throws, no model has begun, and <see cref="Abort"/> must not be called.
    /// </summary>
    /// <param name="tensors">Every tensor that will be written, in the order of the output.</param>
    /// <param name="metadata">The output's metadata.</param>
    /// <exception cref="FedIcuException">The destination cannot be written.</exception>
    /// <exception cref="InvalidOperationException">Another model is being written. It is not affected.</exception>
    public abstract void Begin(IReadOnlyList<TensorInfo> tensors, IReadOnlyDictionary<string, string> metadata);

    /// <summary>Writes bytes of one tensor's data. Thread-safe for ranges that do not overlap.</summary>
    /// <param name="tensor">One of the tensors given to <see cref="Begin"/>.</param>
    /// <param name="offset">The first byte, counted from the start of the tensor's data.</param>
    /// <param name="source">The bytes, little-endian and row-major.</param>
    public abstract void Write(TensorInfo tensor, long offset, ReadOnlySpan<byte> source);

    /// <summary>
    /// Returns the address of a tensor's data if the sink keeps it in memory, so that results can be written without a
    /// copy; otherwise null.
    /// </summary>
    /// <param name="tensor">One of the tensors given to <see cref="Begin"/>.</param>
    public virtual unsafe void* TryGetPointer(TensorInfo tensor) => null;

    /// <summary>Gets the owner of the device memory that the model is written to; null if it is host memory.</summary>
    internal virtual object? Device => null;

    /// <summary>Returns the address of a tensor's first byte on <see cref="Device"/>.</summary>
    internal virtual nint AddressOnDevice(TensorInfo tensor) => throw new NotSupportedException();

    /// <summary>Makes the whole model visible at once.</summary>
    /// <exception cref="InvalidOperationException">No model has begun.</exception>
    public abstract void Commit();

    /// <summary>
    /// Discards everything written since <see cref="Begin"/> and keeps the previous model. Does nothing after
    /// <see cref="Commit"/>.
    /// </summary>
    public abstract void Abort();

    /// <summary>Gets whether the metadata can be changed after <see cref="Begin"/>.</summary>
    internal virtual bool CanAmend => false;

    /// <summary>
    /// Replaces the metadata by new values of the same length under the same keys. Used for values that are known only
    /// after all data is written.
    /// </summary>
    internal virtual void Amend(IReadOnlyDictionary<string, string> metadata) => throw new NotSupportedException();

    /// <summary>Gets the file or folder that is written, or null if the sink has none.</summary>
    internal virtual (string Path, bool IsFolder)? Place => null;

    /// <summary>Gets a sink that discards everything, for rounds that are run only for their report.</summary>
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
