using FedICU.Text;

namespace FedICU.Files.Publishing;

/// <summary>Publishes a model in one file by renaming it over the old one.</summary>
internal sealed class FilePublication : IPublication
{
    private readonly string _path;
    private readonly OutputOptions _options;
    private readonly string? _index;
    private StagedFile? _file;

    /// <summary>Checks the place of the file.</summary>
    /// <param name="path">The file.</param>
    /// <param name="tensors">The file's tensors.</param>
    /// <param name="options">Whether other files are replaced and links are followed.</param>
    /// <exception cref="FedIcuException">
    /// An index with the same stem is beside the file: some readers would open the file, others the index.
    /// </exception>
    public FilePublication(string path, IReadOnlyList<TensorInfo> tensors, OutputOptions options)
    {
        (_path, _options, Files) = (path, options, [(path, tensors)]);
        string index = path + ".index.json";
        _index = ModelFolder.IsIndex(Path.GetFileName(index)) && File.Exists(index) ? index : null;
        if (_index is not null && !options.Replace)
        {
            throw new FedIcuException(
                $"'{path}' would be beside {Sentence.Quote(Path.GetFileName(_index))}, " +
                "and readers differ in which of the two they open: " +
                "remove the index, choose another place, or replace it (--replace, OutputOptions.Replace).");
        }
    }

    public IReadOnlyList<(string Path, IReadOnlyList<TensorInfo> Tensors)> Files { get; }

    public KeyValuePair<string, string>? Stamp => null;

    public StagedFile Stage(int file, long length) => _file = StagedFile.Beside(_path, length, _options);

    public void Publish()
    {
        _file!.Publish();
        // A state that is published next, maybe on another disk, must not survive a power failure without its model.
        FolderCalls.Flush(Path.GetDirectoryName(FilePlace.Destination(_path, _options.FollowLinks))!);
        if (_index is null)
            return;
        string folder = Path.GetDirectoryName(Path.GetFullPath(_path))!;
        string[] shards = ShardIndex.TryReadShardNames(_index) ?? [];
        FilePlace.Remove(_index);
        foreach (string shard in shards.Where(shard => shard != Path.GetFileName(_path)))
            FilePlace.Remove(Path.Combine(folder, shard));
    }

    public void Discard() => _file?.Discard();
}
