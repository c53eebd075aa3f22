using FedICU.Safetensors;

namespace FedICU;

public abstract partial class TensorSink
{
    /// <summary>
    /// Writes a safetensors file, replaced whole on <see cref="Commit"/>: a crash leaves the old file or the new one. Its folder must exist.
    /// </summary>
    /// <param name="path">The file.</param>
    public static TensorSink ToFile(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        return new ModelFileSink(path, null, tensors => new OutputLayout([(path, tensors)], null));
    }

    /// <summary>Writes a PEFT adapter: adapter_model.safetensors, then adapter_config.json byte for byte as given. PEFT loads the folder.</summary>
    /// <param name="folder">The folder; created where it is missing.</param>
    /// <param name="config">The config to put beside the tensors.</param>
    public static TensorSink ToAdapterFolder(string folder, PeftAdapterConfig config)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        ArgumentNullException.ThrowIfNull(config);
        return new ModelFileSink(folder, folder, tensors => new OutputLayout(
            [(Path.Combine(folder, ModelFolder.AdapterModel), tensors)],
            (Path.Combine(folder, ModelFolder.AdapterConfig), config.RawJson)));
    }

    /// <summary>
    /// Writes a sharded model in the layout of another: the same shards, then the index. Every shard carries the model's metadata. A tensor that the
    /// layout does not know is refused in <see cref="Begin"/>.
    /// </summary>
    /// <param name="folder">The folder; created where it is missing. It may be the other model's own.</param>
    /// <param name="layoutOf">The model whose layout is used; it may be disposed before the sink is used.</param>
    /// <remarks>
    /// Each file is replaced whole, but several files cannot be replaced at once. The old index is removed before the first shard is replaced and the
    /// new one put there last, so that a crash in between leaves a folder that does not open, never shards of two models that do.
    /// </remarks>
    public static TensorSink ToShardedFolder(string folder, ShardedModel layoutOf)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        ArgumentNullException.ThrowIfNull(layoutOf);
        return new ModelFileSink(folder, folder, tensors => Sharded(folder, layoutOf, tensors));
    }

    /// <summary>
    /// Writes to what the path's name says: a path that ends in <c>.safetensors</c> is a file; any other is a folder, which gets the kind of the global
    /// model: an adapter, the same shards and index, or a lone model.safetensors.
    /// </summary>
    /// <param name="path">The file or folder.</param>
    /// <param name="global">The model whose kind, adapter config and shard layout the output takes.</param>
    public static TensorSink To(string path, TensorSource global)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        ArgumentNullException.ThrowIfNull(global);
        if (path.EndsWith(".safetensors", StringComparison.Ordinal))
            return ToFile(path);
        return global switch
        {
            PeftAdapter adapter => ToAdapterFolder(path, adapter.Config),
            ShardedModel sharded => ToShardedFolder(path, sharded),
            _ => new ModelFileSink(path, path, tensors => new OutputLayout([(Path.Combine(path, ModelFolder.SingleFile), tensors)], null)),
        };
    }

    private static OutputLayout Sharded(string folder, ShardedModel layoutOf, IReadOnlyList<TensorInfo> tensors)
    {
        var shards = new SortedDictionary<string, List<TensorInfo>>(StringComparer.Ordinal);
        foreach (TensorInfo tensor in tensors)
        {
            if (!layoutOf.WeightMap.TryGetValue(tensor.Name, out string? shard))
                throw new FedIcuException($"The layout of '{layoutOf.Location}' has no shard for tensor {Sentence.Quote(tensor.Name)}.");
            if (!shards.TryGetValue(shard, out List<TensorInfo>? content))
                shards.Add(shard, content = []);
            content.Add(tensor);
        }

        var names = tensors.Select(tensor => tensor.Name).ToHashSet(StringComparer.Ordinal);
        byte[] index = ShardIndex.Write(
            layoutOf.WeightMap.Where(entry => names.Contains(entry.Key)), layoutOf.IndexMetadata, tensors.Sum(tensor => tensor.ByteLength));
        return new OutputLayout(
            [.. shards.Select(shard => (Path.Combine(folder, shard.Key), (IReadOnlyList<TensorInfo>)shard.Value))],
            (Path.Combine(folder, ModelFolder.ShardIndex), index));
    }
}
