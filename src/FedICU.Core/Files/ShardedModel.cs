using System.Buffers;
using System.Security.Cryptography;
using FedICU.Files;
using FedICU.Files.Publishing;
using FedICU.Text;

namespace FedICU;

/// <summary>
/// A model in several safetensors files (shards) with an index (<c>model.safetensors.index.json</c>) that gives the
/// shard of each tensor. Index and shards must agree on every tensor. All shards stay open.
/// </summary>
public sealed class ShardedModel : TensorSource
{
    // Opening is retried when a writer replaces the model meanwhile, and only if the index has changed. The limit,
    // which is chosen, ends this if a writer never pauses.
    private const int MaxAttempts = 100;

    private readonly Dictionary<string, SafetensorsFile> _shards = new(StringComparer.Ordinal);
    private readonly OrderedDictionary<string, string> _weightMap;
    private readonly TensorInfo[] _tensors;

    private ShardedModel(string indexPath, ShardIndex index, FileAccessMode access, RoundFiles? round)
    {
        Location = indexPath;
        _weightMap = index.WeightMap;
        IndexMetadata = index.Metadata;
        Generation = index.Generation;
        ShardNames = [.. _weightMap.Values.Distinct(StringComparer.Ordinal).Order(StringComparer.Ordinal)];
        string folder = Path.GetDirectoryName(indexPath) ?? "";
        try
        {
            foreach (string shard in ShardNames)
                _shards.Add(shard, SafetensorsFile.Open(Path.Combine(folder, shard), access, round));
            CheckGeneration();
            _tensors = [.. ShardNames.SelectMany(shard => _shards[shard].Tensors)];
            CheckAgreement();
            Metadata = new AgreedMetadata([.. _shards.Values.Select(shard => shard.Metadata)]);
        }
        catch
        {
            Dispose(disposing: true);
            throw;
        }
    }

    /// <summary>Opens an index and all its shards, and checks that they agree.</summary>
    /// <param name="indexPath">The index file. Its shards are in the same folder.</param>
    /// <param name="access">
    /// How the data is read. Use <see cref="FileAccessMode.Mapped"/> only for files that nobody truncates while they
    /// are open.
    /// </param>
    /// <exception cref="InvalidModelException">
    /// The index or a shard cannot be opened or is malformed; a shard's name is not a plain file name; a tensor is
    /// missing from the shard that the index gives, or a shard has a tensor that the index does not list. The message
    /// is one sentence.
    /// </exception>
    public static new ShardedModel Open(string indexPath, FileAccessMode access = FileAccessMode.Read) => Open(indexPath, access, null);

    /// <inheritdoc cref="TensorSource.Open(string, FileAccessMode, RoundFiles?)"/>
    internal static new ShardedModel Open(string indexPath, FileAccessMode access, RoundFiles? round)
    {
        byte[] text = ShardIndex.ReadText(indexPath);
        for (int attempt = 1; ; attempt++)
        {
            byte[] checksum = SHA256.HashData(text);
            try
            {
                return new ShardedModel(indexPath, ShardIndex.Parse(text, indexPath), access, round);
            }
            catch (InvalidModelException) when (attempt < MaxAttempts)
            {
                // A writer may have replaced the model, and removed the old shards, since the index was read.
                text = ShardIndex.ReadText(indexPath);
                if (SHA256.HashData(text).AsSpan().SequenceEqual(checksum))
                    throw;
            }
        }
    }

    /// <summary>
    /// Gets the tensors shard by shard, in the ordinal order of the shards' names, and within a shard in the order of
    /// their data.
    /// </summary>
    public override IReadOnlyList<TensorInfo> Tensors => _tensors;

    /// <summary>
    /// Gets the metadata on which all shards agree. Entries that differ describe a single shard and are left out.
    /// </summary>
    public override IReadOnlyDictionary<string, string> Metadata { get; }

    /// <summary>Gets the index's path as it was given.</summary>
    public override string Location { get; }

    /// <summary>Gets the file names of the shards in ordinal order.</summary>
    public IReadOnlyList<string> ShardNames { get; }

    /// <summary>Gets the shard of each tensor, in the index's order.</summary>
    public IReadOnlyDictionary<string, string> WeightMap => _weightMap;

    /// <summary>
    /// Gets the raw JSON object of the index's own metadata (<c>total_size</c> and others); empty if it has none.
    /// </summary>
    public ReadOnlyMemory<byte> IndexMetadata { get; }

    /// <summary>Gets the generation that index and shards state, or null if the index states none.</summary>
    internal string? Generation { get; }

    /// <inheritdoc/>
    public override void Read(TensorInfo tensor, long offset, Span<byte> destination) => ShardOf(tensor).Read(tensor, offset, destination);

    /// <inheritdoc/>
    public override bool TryPin(TensorInfo tensor, out MemoryHandle memory) => ShardOf(tensor).TryPin(tensor, out memory);

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        foreach (SafetensorsFile shard in _shards.Values)
            shard.Dispose();
        base.Dispose(disposing);
    }

    internal override void RequireUnchanged()
    {
        foreach (SafetensorsFile shard in _shards.Values)
            shard.RequireUnchanged();
    }

    internal override void Forget(TensorInfo tensor, long offset, long length) => ShardOf(tensor).Forget(tensor, offset, length);

    internal override bool TryReadAhead(TensorInfo tensor, long offset, Span<byte> buffer) =>
        ShardOf(tensor).TryReadAhead(tensor, offset, buffer);

    private protected override TensorInfo? Lookup(string name) =>
        _weightMap.TryGetValue(name, out string? shard) ? _shards[shard].Find(name) : null;

    private SafetensorsFile ShardOf(TensorInfo tensor)
    {
        ArgumentNullException.ThrowIfNull(tensor);
        return _weightMap.TryGetValue(tensor.Name, out string? shard)
            ? _shards[shard]
            : throw new ArgumentException($"The model has no tensor {Sentence.Quote(tensor.Name)}.", nameof(tensor));
    }

    private void CheckGeneration()
    {
        if (Generation is null)
            return;
        foreach (SafetensorsFile shard in _shards.Values)
        {
            string? stated = shard.OwnMetadata.GetValueOrDefault(MetadataKeys.Generation);
            string found = stated is null ? "states no generation" : $"states generation {Sentence.Quote(stated)}";
            if (stated != Generation)
                throw new InvalidModelException($"'{shard.Location}' {found}, " +
                    $"expected {Sentence.Quote(Generation)}, the generation of the index '{Location}'.");
        }
    }

    private void CheckAgreement()
    {
        foreach (string shard in ShardNames)
        {
            string path = _shards[shard].Location;
            foreach (TensorInfo tensor in _shards[shard].Tensors)
            {
                if (!_weightMap.TryGetValue(tensor.Name, out string? home))
                    throw Misplaced("does not list");
                if (home != shard)
                    throw Misplaced($"puts into '{home}'");

                InvalidModelException Misplaced(string predicate) =>
                    new($"'{path}' holds tensor {Sentence.Quote(tensor.Name)}, which the index '{Location}' {predicate}.");
            }
        }

        // Each tensor found is in the right shard, so a smaller count means that a shard lacks one.
        if (_tensors.Length == _weightMap.Count)
            return;
        var found = _tensors.Select(tensor => tensor.Name).ToHashSet(StringComparer.Ordinal);
        var (missing, where) = _weightMap.First(entry => !found.Contains(entry.Key));
        throw new InvalidModelException(
            $"'{_shards[where].Location}' lacks tensor {Sentence.Quote(missing)}, which the index '{Location}' puts there.");
    }
}
