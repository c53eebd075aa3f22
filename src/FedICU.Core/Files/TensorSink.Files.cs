using FedICU.Files;
using FedICU.Files.Publishing;

namespace FedICU;

public abstract partial class TensorSink
{
    /// <summary>
    /// Creates a sink that writes a safetensors file. <see cref="Commit"/> replaces the file as a whole, so a crash
    /// leaves the old file or the new one. The file's folder must exist.
    /// </summary>
    /// <param name="path">The file.</param>
    /// <param name="options">How existing files are replaced; null for the defaults.</param>
    public static TensorSink ToFile(string path, OutputOptions? options = null)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        return new ModelFileSink(
            path, isFolder: false, holdsConfig: false,
            (tensors, _) => new FilePublication(path, tensors, options ?? OutputOptions.Default));
    }

    /// <summary>
    /// Creates a sink that writes a PEFT adapter: adapter_model.safetensors, and adapter_config.json byte for byte as
    /// given. PEFT can load the folder. A crash leaves the old adapter or the new one.
    /// </summary>
    /// <param name="folder">The folder. It is created if it does not exist.</param>
    /// <param name="config">The configuration to write beside the tensors.</param>
    /// <param name="options">How existing files are replaced; null for the defaults.</param>
    public static TensorSink ToAdapterFolder(string folder, PeftAdapterConfig config, OutputOptions? options = null)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        ArgumentNullException.ThrowIfNull(config);
        return new ModelFileSink(folder, isFolder: true, holdsConfig: true, (tensors, changed) =>
            new FolderPublication(folder, FolderLayout.Adapter(tensors, changed ?? config), options ?? OutputOptions.Default));
    }

    /// <summary>
    /// Creates a sink that writes a sharded model in the layout of another: the same number of shards, and an index
    /// with the same name. Every shard carries the model's metadata. <see cref="Begin"/> throws if the layout lacks a
    /// tensor.
    /// </summary>
    /// <param name="folder">The folder. It is created if it does not exist. It may be the other model's folder.</param>
    /// <param name="layoutOf">The model whose layout is used. It may be disposed before the sink is used.</param>
    /// <param name="options">How existing files are replaced; null for the defaults.</param>
    /// <remarks>
    /// The shards get new names each time, <c>stem-generation-00001-of-00002.safetensors</c>. The index is replaced
    /// last, then the shards of the old index are removed. A crash therefore leaves the old model or the new one, and
    /// this library's readers always get one of them as a whole. Readers that load every shard in a folder need a new
    /// folder.
    /// </remarks>
    public static TensorSink ToShardedFolder(string folder, ShardedModel layoutOf, OutputOptions? options = null)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        ArgumentNullException.ThrowIfNull(layoutOf);
        return ToFolder(folder, options, tensors => FolderLayout.Sharded(tensors, layoutOf));
    }

    /// <summary>
    /// Creates a sink for a path. A path that ends in <c>.safetensors</c> is a file. Any other path is a folder, which
    /// becomes a model of the same kind as the global model: an adapter, a sharded model with the same layout, or a
    /// single model.safetensors.
    /// </summary>
    /// <param name="path">The file or folder.</param>
    /// <param name="global">The model whose kind, adapter configuration and shard layout the output takes.</param>
    /// <param name="options">How existing files are replaced; null for the defaults.</param>
    public static TensorSink To(string path, TensorSource global, OutputOptions? options = null)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        ArgumentNullException.ThrowIfNull(global);
        if (path.EndsWith(".safetensors", StringComparison.Ordinal))
            return ToFile(path, options);
        return global switch
        {
            { AdapterConfig: { } config } => ToAdapterFolder(path, config, options),
            ShardedModel sharded => ToShardedFolder(path, sharded, options),
            _ => ToFolder(path, options, FolderLayout.Single),
        };
    }

    /// <summary>
    /// Gets or sets the configuration of the adapter that is begun next, where a round changes the global model's; null
    /// if it does not. Sinks without a configuration ignore it.
    /// </summary>
    internal virtual PeftAdapterConfig? AdapterConfig { get; set; }

    /// <summary>Gets whether <see cref="AdapterConfig"/> is written beside the tensors.</summary>
    internal virtual bool HoldsAdapterConfig => false;

    /// <summary>
    /// Returns the full paths of what <see cref="Commit"/> may replace or remove: the sink's file or folder and the
    /// files of a model there.
    /// </summary>
    internal HashSet<string> ReplacedFiles() => [.. Place is { } place ? ModelFolder.ListFiles(place.Path) : []];

    private static ModelFileSink ToFolder(string folder, OutputOptions? options, Func<IReadOnlyList<TensorInfo>, FolderLayout> layout) =>
        new(folder, isFolder: true, holdsConfig: false, (tensors, _) =>
            new FolderPublication(folder, layout(tensors), options ?? OutputOptions.Default));
}
