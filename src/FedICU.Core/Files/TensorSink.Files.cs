using FedICU.Files;
using FedICU.Files.Publishing;

namespace FedICU;

public abstract partial class TensorSink
{
    /// <summary>
    /// Writes a safetensors file, replaced whole on <see cref="Commit"/>: a crash leaves the old file or the new one. Its folder must exist.
    /// </summary>
    /// <param name="path">The file.</param>
    /// <param name="options">How it takes its place; null for the defaults.</param>
    public static TensorSink ToFile(string path, OutputOptions? options = null)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        return new ModelFileSink(path, isFolder: false, tensors => new FilePublication(path, tensors, options ?? OutputOptions.Default));
    }

    /// <summary>
    /// Writes a PEFT adapter: adapter_model.safetensors, and adapter_config.json byte for byte as given. PEFT loads the folder. A crash
    /// leaves the old adapter or the new one.
    /// </summary>
    /// <param name="folder">The folder; created where it is missing.</param>
    /// <param name="config">The config to put beside the tensors.</param>
    /// <param name="options">How they take their place; null for the defaults.</param>
    public static TensorSink ToAdapterFolder(string folder, PeftAdapterConfig config, OutputOptions? options = null)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        ArgumentNullException.ThrowIfNull(config);
        return ToFolder(folder, options, tensors => FolderLayout.Adapter(tensors, config));
    }

    /// <summary>
    /// Writes a sharded model in the layout of another: as many shards, and an index of the same name. Every shard carries the model's
    /// metadata. A tensor that the
    /// layout does not know is refused in <see cref="Begin"/>.
    /// </summary>
    /// <param name="folder">The folder; created where it is missing. It may be the other model's own.</param>
    /// <param name="layoutOf">The model whose layout is used; it may be disposed before the sink is used.</param>
    /// <param name="options">How they take their place; null for the defaults.</param>
    /// <remarks>
    /// The shards have new names each time, <c>stem-generation-00001-of-00002.safetensors</c>, and the index is replaced last; then the
    /// shards of the old index are removed. So a
    /// crash leaves the old model or the new one, and a reader of this library gets one of them whole. Readers that take all shards of a
    /// folder need a fresh folder.
    /// </remarks>
    public static TensorSink ToShardedFolder(string folder, ShardedModel layoutOf, OutputOptions? options = null)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        ArgumentNullException.ThrowIfNull(layoutOf);
        return ToFolder(folder, options, tensors => FolderLayout.Sharded(tensors, layoutOf));
    }

    /// <summary>
    /// Writes to what the path's name says: a path that ends in <c>.safetensors</c> is a file; any other is a folder, which gets the kind of the global
    /// model: an adapter, the same shards and index, or a lone model.safetensors.
    /// </summary>
    /// <param name="path">The file or folder.</param>
    /// <param name="global">The model whose kind, adapter config and shard layout the output takes.</param>
    /// <param name="options">How it takes its place; null for the defaults.</param>
    public static TensorSink To(string path, TensorSource global, OutputOptions? options = null)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        ArgumentNullException.ThrowIfNull(global);
        if (path.EndsWith(".safetensors", StringComparison.Ordinal))
            return ToFile(path, options);
        return global switch
        {
            PeftAdapter adapter => ToAdapterFolder(path, adapter.Config, options),
            ShardedModel sharded => ToShardedFolder(path, sharded, options),
            _ => ToFolder(path, options, FolderLayout.Single),
        };
    }

    /// <summary>The sink's own place and the files of a model there: what <see cref="Commit"/> may replace or remove.</summary>
    internal HashSet<string> ReplacedFiles() => [.. Place is { } place ? FilesOf(place.Path) : []];

    /// <summary>The full paths of a file or folder and of the files that a model there has.</summary>
    internal static IEnumerable<string> FilesOf(string path)
    {
        if (path.Length == 0 || path.Contains('\0'))
            return [];
        string whole = Path.TrimEndingDirectorySeparator(Path.GetFullPath(path));
        string[] indexes = ModelFolder.Indexes(whole);
        IEnumerable<string> names = [ModelFolder.AdapterConfig, ModelFolder.AdapterModel, ModelFolder.SingleFile, ModelFolder.ShardIndex,
            .. indexes, .. indexes.SelectMany(index => FolderLeftovers.ShardsOf(whole, index) ?? [])];
        return names.Select(name => Path.Combine(whole, name)).Prepend(whole);
    }

    private static ModelFileSink ToFolder(string folder, OutputOptions? options, Func<IReadOnlyList<TensorInfo>, FolderLayout> layout) =>
        new(folder, isFolder: true, tensors => new FolderPublication(folder, layout(tensors), options ?? OutputOptions.Default));
}
