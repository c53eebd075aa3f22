using System.Buffers;
using System.Collections.Frozen;
using FedICU.Errors;
using FedICU.Text;

namespace FedICU;

/// <summary>
/// Named tensors that can be read: a file, a sharded model, an adapter folder, or memory. Reading is thread-safe. Data
/// is little-endian and row-major.
/// </summary>
public abstract partial class TensorSource : IDisposable
{
    private Dictionary<string, TensorInfo>? _index;

    /// <summary>Gets the tensors in the source's order.</summary>
    public abstract IReadOnlyList<TensorInfo> Tensors { get; }

    /// <summary>Gets the source's metadata (a safetensors file's <c>__metadata__</c>); empty if it has none.</summary>
    public virtual IReadOnlyDictionary<string, string> Metadata => FrozenDictionary<string, string>.Empty;

    /// <summary>
    /// Gets the name of the source in messages: a file's path as given, or <c>memory</c>. A source in memory also
    /// overrides <see cref="IsInMemory"/>.
    /// </summary>
    public abstract string Location { get; }

    /// <summary>
    /// Gets whether the tensors are in memory, so that <see cref="Location"/> is not a file. <value>Default:
    /// false.</value>
    /// </summary>
    public virtual bool IsInMemory => false;

    /// <summary>Returns the tensor with the given name, or null if there is none.</summary>
    public TensorInfo? Find(string name) => Lookup(name);

    /// <summary>Copies bytes of a tensor's data.</summary>
    /// <param name="tensor">One of <see cref="Tensors"/>.</param>
    /// <param name="offset">The first byte, counted from the start of the tensor's data.</param>
    /// <param name="destination">The buffer to fill completely.</param>
    /// <exception cref="InvalidModelException">
    /// The bytes are no longer there: the file was truncated or cannot be read.
    /// </exception>
    public abstract void Read(TensorInfo tensor, long offset, Span<byte> destination);

    /// <summary>Lends a tensor's memory without a copy, if the source has the whole tensor in memory.</summary>
    /// <param name="tensor">One of <see cref="Tensors"/>.</param>
    /// <param name="memory">The address of the first byte, valid until disposed.</param>
    /// <returns>False if the data must be copied with <see cref="Read"/>.</returns>
    public virtual bool TryPin(TensorInfo tensor, out MemoryHandle memory)
    {
        memory = default;
        return false;
    }

    /// <summary>
    /// Lends a tensor's memory. The caller passes the tensor's expected number in <see cref="Tensors"/>, which saves a
    /// lookup by name.
    /// </summary>
    internal virtual bool TryPin(TensorInfo tensor, int number, out MemoryHandle memory) => TryPin(tensor, out memory);

    /// <summary>Gets the owner of the device memory that the tensors are in; null if it is host memory.</summary>
    internal virtual object? Device => null;

    /// <summary>Returns the address of a tensor's first byte on <see cref="Device"/>.</summary>
    internal virtual nint AddressOnDevice(TensorInfo tensor) => throw new NotSupportedException();

    /// <summary>
    /// Tells the operating system that bytes of a tensor will not be read again. Without this, files larger than memory
    /// would displace everything else from the cache.
    /// </summary>
    internal virtual void Forget(TensorInfo tensor, long offset, long length) { }

    /// <summary>
    /// Reads bytes of an open file into a buffer ahead of their use, so that the operating system caches them. The
    /// content of the buffer is not used. Returns false if that would gain nothing.
    /// </summary>
    internal virtual bool TryReadAhead(TensorInfo tensor, long offset, Span<byte> buffer) => false;

    /// <summary>
    /// Throws if a file was changed since it was opened. Called before anything computed from the data is published.
    /// </summary>
    /// <exception cref="ChangedModelException">A file was changed, replaced or removed.</exception>
    internal virtual void RequireUnchanged() { }

    /// <summary>
    /// Returns the tensor with the given name, or the tensor it is tied to, or null if there is neither. If several
    /// names share memory, safetensors stores one of them and records the others in the metadata (<c>lm_head.weight:
    /// model.embed_tokens.weight</c>).
    /// </summary>
    internal TensorInfo? FindTied(string name) => Find(name) ?? (Metadata.TryGetValue(name, out string? kept) ? Find(kept) : null);

    /// <summary>Implements <see cref="Find"/>. Overridden by sources that have an index of their own.</summary>
    private protected virtual TensorInfo? Lookup(string name) => Index.GetValueOrDefault(name);

    /// <summary>Writes all tensors and the metadata to a sink.</summary>
    /// <param name="sink">The destination. It is committed at the end; on failure it keeps its previous model.</param>
    /// <param name="cancellationToken">Cancels the copy without output.</param>
    /// <exception cref="FedIcuException">The source cannot be read, or the destination cannot be written.</exception>
    public void SaveTo(TensorSink sink, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(sink);
        sink.Begin(Tensors, Metadata);
        try
        {
            foreach (TensorInfo tensor in Tensors)
                CopyTo(sink, tensor, tensor, cancellationToken);
            RequireUnchanged();
            sink.Commit();
        }
        catch
        {
            sink.Abort();
            throw;
        }
    }

    /// <summary>Copies one tensor's bytes unchanged.</summary>
    /// <param name="sink">The destination.</param>
    /// <param name="from">One of <see cref="Tensors"/>.</param>
    /// <param name="to">The sink's tensor, of the same type and shape.</param>
    /// <param name="cancellationToken">Cancels the copy.</param>
    internal void CopyTo(TensorSink sink, TensorInfo from, TensorInfo to, CancellationToken cancellationToken)
    {
        // bytes; chosen
        const int Piece = 1 << 20;
        byte[] bytes = ArrayPool<byte>.Shared.Rent((int)Math.Min(Piece, from.ByteLength));
        try
        {
            for (long offset = 0; offset < from.ByteLength; offset += Piece)
            {
                cancellationToken.ThrowIfCancellationRequested();
                Span<byte> part = bytes.AsSpan(0, (int)Math.Min(Piece, from.ByteLength - offset));
                Read(from, offset, part);
                sink.Write(to, offset, part);
            }
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(bytes);
        }
    }

    /// <summary>Releases the source's files and mappings.</summary>
    public void Dispose()
    {
        Dispose(disposing: true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Releases the source's files and mappings.</summary>
    protected virtual void Dispose(bool disposing) { }

    /// <summary>
    /// Describes in a sentence why the tensors are not a whole model according to their metadata. Returns null if the
    /// metadata does not say so.
    /// </summary>
    internal string? DescribeNoModel()
    {
        if (Metadata.GetValueOrDefault(MetadataKeys.State) is { } state)
            return $"'{Location}': metadata '{MetadataKeys.State}' is {Sentence.Quote(state)}, a state; a model was expected.";
        return Metadata.GetValueOrDefault(MetadataKeys.Update) is { } kind and not "full"
            ? $"'{Location}': metadata '{MetadataKeys.Update}' is {Sentence.Quote(kind)}; a whole model (full) was expected."
            : null;
    }

    /// <summary>
    /// Tells the source that <see cref="Tensors"/> has changed, so that <see cref="Find"/> builds a new index.
    /// </summary>
    protected void ResetIndex() => _index = null;

    // Not a frozen dictionary: freezing a million names takes seconds, and names chosen to collide would make it slow.
    private Dictionary<string, TensorInfo> Index => _index ??= Tensors.ToDictionary(tensor => tensor.Name, StringComparer.Ordinal);

    /// <summary>Gets the total length of all tensors' data in bytes.</summary>
    internal long TotalBytes
    {
        get
        {
            IReadOnlyList<TensorInfo> tensors = Tensors;
            long bytes = 0;
            for (int i = 0; i < tensors.Count; i++)
                bytes = checked(bytes + tensors[i].ByteLength);
            return bytes;
        }
    }
}
