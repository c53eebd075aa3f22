namespace FedICU.Files.Publishing;

/// <summary>The files of an existing folder that a new model replaces, or that would hide it from readers.</summary>
internal sealed class ReplacedFolder
{
    private readonly string _folder;
    private readonly FolderLayout _layout;

    /// <summary>Lists the files.</summary>
    /// <param name="folder">The full path of the folder, with links followed.</param>
    /// <param name="layout">The layout of the new model.</param>
    public ReplacedFolder(string folder, FolderLayout layout)
    {
        (_folder, _layout) = (folder, layout);
        Shards = layout.IsSharded ? ShardIndex.TryReadShardNames(At(layout.DecidingName)) ?? [] : [];
        Shadows = [.. FindShadows()];
    }

    /// <summary>Gets the names of the shards of the index that is replaced.</summary>
    public string[] Shards { get; }

    /// <summary>Gets the names of files that readers would open instead of the new model.</summary>
    public string[] Shadows { get; }

    /// <summary>Gets whether the new model and the old one are adapters.</summary>
    public bool IsAdapter =>
        _layout.DecidingName == ModelFolder.AdapterConfig &&
        File.Exists(At(ModelFolder.AdapterConfig)) && File.Exists(At(ModelFolder.AdapterModel));

    /// <summary>Gets whether the folder's adapter configuration already has the bytes of the new one.</summary>
    public bool HasSameMarker =>
        _layout.Marker is { } marker && !_layout.IsSharded && HasBytes(At(marker.Name), marker.Bytes.Span);

    /// <summary>Gets an index with another name, which the new index replaces; null if there is none.</summary>
    public string? OtherIndex =>
        _layout.IsSharded && !File.Exists(At(_layout.DecidingName)) ? Array.Find(Shadows, ModelFolder.IsIndex) : null;

    /// <summary>Returns the names of the old model's files that the new model does not overwrite.</summary>
    public string[] FindObsoleteFiles() =>
        [.. Shards.Concat(Shadows.SelectMany(PartsOf)).Except(_layout.Files.Select(file => file.Name))];

    private string At(string name) => Path.Combine(_folder, name);

    private IEnumerable<string> FindShadows()
    {
        if (_layout.DecidingName == ModelFolder.AdapterConfig)
            return [];
        IEnumerable<string> others = ModelFolder.ListMarkers(_folder).Where(name => name != _layout.DecidingName);
        if (!_layout.IsSharded)
            return others;
        // transformers and diffusers open the single file that has the index's stem. This library's readers do not.
        string single = _layout.DecidingName[..^ModelFolder.IndexEnding.Length] + ".safetensors";
        bool isShadow = File.Exists(At(single)) && !Shards.Contains(single);
        return others.Where(name => name != ModelFolder.SingleFile).Concat(isShadow ? [single] : []);
    }

    /// <summary>Returns the other files of the model that a marker belongs to.</summary>
    private string[] PartsOf(string marker) =>
        marker == ModelFolder.AdapterConfig ? [ModelFolder.AdapterModel]
        : ModelFolder.IsIndex(marker) ? ShardIndex.TryReadShardNames(At(marker)) ?? []
        : [];

    /// <summary>Determines whether a file has exactly these bytes. Returns false if it cannot be read.</summary>
    private static bool HasBytes(string path, ReadOnlySpan<byte> bytes)
    {
        try
        {
            return new FileInfo(path) is { Exists: true } old && old.Length == bytes.Length &&
                bytes.SequenceEqual(ModelFile.ReadAll(path, bytes.Length));
        }
        catch (Exception e) when (e is InvalidModelException || ModelFile.IsFileError(e))
        {
            return false;
        }
    }
}
