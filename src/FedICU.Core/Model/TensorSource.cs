using System.Buffers;
using System.Collections.Frozen;
using FedICU.Errors;
using FedICU.Text;

namespace FedICU;

/// <summary>
/// Named tensors that can be read: a file, a sharded model, an adapter folder, or memory. Reading is thread-safe; data are little-endian and
/// row-major.
/// </summary>
public abstract partial class TensorSource : IDisposable
{
    private Dictionary<string, TensorInfo>? _index;

    /// <summary>The tensors in the source's own order.</summary>
    public abstract IReadOnlyList<TensorInfo> Tensors { get; }

    /// <summary>The source's metadata (a safetensors file's <c>__metadata__</c>); empty where it has none.</summary>
    public virtual IReadOnlyDictionary<string, string> Metadata => FrozenDictionary<string, string>.Empty;

    /// <summary>What messages call the source: a file's path as given, or <c>memory</c>.</summary>
    public abstract string Location { get; }

    /// <summary>Whether the tensors come from memory, so that <see cref="Location"/> names no file. <value>Default: false.</value></summary>
    public virtual bool IsInMemory => false;

    /// <summary>The tensor of that name, null where there is none.</summary>
    public TensorInfo? Find(string name) => Lookup(name);

    /// <summary>Copies bytes of a tensor's data.</summary>
    /// <param name="tensor">One of <see cref="Tensors"/>.</param>
    /// <param name="offset">The first byte, counted from the start of the tensor's data.</param>
    /// <param name="destination">Filled whole.</param>
    /// <exception cref="InvalidModelException">The bytes are no longer there: the file was truncated or cannot be read.</exception>
    public abstract void Read(TensorInfo tensor, long offset, Span<byte> destination);

    /// <summary>Lends a tensor's memory without a copy, where the source has the whole of it in memory.</summary>
    /// <param name="tensor">One of <see cref="Tensors"/>.</param>
    /// <param name="memory">The address of the first byte; valid until disposed.</param>
    /// <returns>False where the data must be copied with <see cref="Read"/>.</returns>
    public virtual bool TryPin(TensorInfo tensor, out MemoryHandle memory)
    {
        memory = default;
        return false;
    }

    /// <summary>The same for a caller who thinks to know the tensor's number in <see cref="Tensors"/>, which saves looking for it.</summary>
    internal virtual bool TryPin(TensorInfo tensor, int number, out MemoryHandle memory) => TryPin(tensor, out memory);

    /// <summary>What owns the memory that the tensors lie in, where that is not the host's.</summary>
    internal virtual object? Device => null;

    /// <summary>The address of a tensor's first byte on <see cref="Device"/>.</summary>
    internal virtual nint AddressOnDevice(TensorInfo tensor) => throw new NotSupportedException();

    /// <summary>Tells the system that bytes of a tensor will not be read again. Of files larger than memory nothing else would stay in it.</summary>
    internal virtual void Forget(TensorInfo tensor, long offset, long length) { }

    /// <summary>Reads bytes of an open file that will be wanted soon, for the system to keep; false where nothing is gained by it.</summary>
    internal virtual bool TryReadAhead(TensorInfo tensor, long offset, Span<byte> unused) => false;

    /// <summary>Refuses files that were changed since they were opened; called before anything made of their data is published.</summary>
    /// <exception cref="ChangedModelException">A file was changed, replaced or removed.</exception>
    internal virtual void RequireUnchanged() { }

    /// <summary>
    /// The tensor of that name, or the one that the metadata say it is tied to: safetensors keeps one of several names of the same memory
    /// and notes the
    /// others (<c>lm_head.weight: model.embed_tokens.weight</c>). Null where there is neither.
    /// </summary>
    internal TensorInfo? FindTied(string name) => Find(name) ?? (Metadata.TryGetValue(name, out string? kept) ? Find(kept) : null);

    /// <summary>What <see cref="Find"/> finds; overridden where names are indexed anyway.</summary>
    private protected virtual TensorInfo? Lookup(string name) => Index.GetValueOrDefault(name);

    /// <summary>Writes all tensors and the metadata to a sink.</summary>
    /// <param name="sink">Where they go; committed at the end, or left as it was.</param>
    /// <param name="cancellationToken">Ends the copying without output.</param>
    /// <exception cref="FedIcuException">The source cannot be read, or the place cannot be written.</exception>
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

    /// <summary>Copies one tensor's bytes as they are.</summary>
    /// <param name="sink">Where they go.</param>
    /// <param name="from">One of <see cref="Tensors"/>.</param>
    /// <param name="to">The sink's tensor, of the same type and shape.</param>
    /// <param name="cancellationToken">Ends the copying.</param>
    internal void CopyTo(TensorSink sink, TensorInfo from, TensorInfo to, CancellationToken cancellationToken)
    {
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

    /// <summary>Frees what the source holds: files, mappings.</summary>
    public void Dispose()
    {
        Dispose(disposing: true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Frees what the source holds.</summary>
    protected virtual void Dispose(bool disposing) { }

    /// <summary>Why these tensors are no whole model by their own metadata, in a sentence; null where the metadata say nothing of the kind.</summary>
    internal string? DescribeNoModel()
    {
        if (Metadata.GetValueOrDefault(MetadataKeys.State) is { } state)
            return $"'{Location}': metadata '{MetadataKeys.State}' is {Sentence.Quote(state)}, a client's state; a model was expected.";
        return Metadata.GetValueOrDefault(MetadataKeys.Update) is { } kind and not "full"
            ? $"'{Location}': metadata '{MetadataKeys.Update}' is {Sentence.Quote(kind)}; a whole model (full) was expected."
            : null;
    }

    /// <summary>Tells the source that <see cref="Tensors"/> has changed, so that <see cref="Find"/> looks anew.</summary>
    protected void ResetIndex() => _index = null;

    // not frozen: freezing a million names takes seconds, and names chosen to collide make a frozen dictionary slow, this one not
    private Dictionary<string, TensorInfo> Index => _index ??= Tensors.ToDictionary(tensor => tensor.Name, StringComparer.Ordinal);

    /// <summary>The sum of all tensors' bytes.</summary>
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
