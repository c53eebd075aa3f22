namespace FedICU.Files.Publishing;

/// <summary>
/// Publishes a model in a folder. A new folder is staged beside its final place and renamed as a whole. In an existing
/// folder, the files are staged in a hidden subfolder. Shards are then renamed into place under new names, followed by
/// the index. If only an adapter's weights change, they are renamed over the old ones. If its configuration changes
/// too, the old and the new folder are swapped in one step.
/// </summary>
internal sealed class FolderPublication : IPublication
{
    private readonly string _folder;
    private readonly string _real;
    private readonly string _stage = "";
    private readonly FolderLayout _layout;
    private readonly OutputOptions _options;
    private readonly CreatedFolders _parents = new();
    private readonly OutputLock? _lock;
    // null: the folder is new
    private readonly ReplacedFolder? _old;
    private readonly bool _swapsFolders;
    private readonly bool _removesMarker;
    private readonly List<StagedFile> _files = [];
    private readonly StagedFile? _marker;
    private bool _isPublished;

    /// <summary>Takes the folder's lock, checks the folder and begins to write.</summary>
    /// <param name="folder">The folder as it was given.</param>
    /// <param name="layout">The folder's files.</param>
    /// <param name="options">Whether other files are replaced and links are followed.</param>
    /// <exception cref="FedIcuException">
    /// The folder cannot be written, another run is writing it, or it contains files that readers would open instead of
    /// the model.
    /// </exception>
    public FolderPublication(string folder, FolderLayout layout, OutputOptions options)
    {
        (_folder, _real, _layout, _options) = (folder, FilePlace.Real(folder), layout, options);
        Files = [.. layout.Files.Select(file => (Path.Combine(folder, file.Name), file.Tensors))];
        if (File.Exists(_real))
            throw new FedIcuException($"'{folder}' is a file, expected a folder.");
        if (FilePlace.FileAbove(folder) is { } above)
            throw new FedIcuException($"The folder '{folder}' cannot be created: '{above}' is a file, expected a folder.");
        try
        {
            _parents.CreateParents(_real, folder);
            _lock = options.IsOwned ? null : OutputLock.Take(_real, folder);
            if (Directory.Exists(_real))
            {
                if (_lock is { IsExclusive: true })
                    FolderLeftovers.Remove(_real);
                _old = new ReplacedFolder(_real, layout);
                CheckOldFolder(_old);
            }

            bool keepsMarker = _old is { HasSameMarker: true };
            bool changesBothFiles = !keepsMarker && _old is { IsAdapter: true };
            (_stage, _swapsFolders) = CreateStage(changesBothFiles);
            _removesMarker = changesBothFiles && !_swapsFolders;
            if (layout.Marker is { } marker && !keepsMarker)
            {
                _marker = Stage(marker.Name, marker.Bytes.Length);
                _marker.Write(marker.Bytes.Span, 0);
                _marker.Seal();
            }
        }
        catch
        {
            Discard();
            throw;
        }
    }

    public IReadOnlyList<(string Path, IReadOnlyList<TensorInfo> Tensors)> Files { get; }

    public KeyValuePair<string, string>? Stamp => _layout.Stamp;

    public StagedFile Stage(int file, long length)
    {
        StagedFile staged = Stage(_layout.Files[file].Name, length);
        _files.Add(staged);
        return staged;
    }

    public void Publish()
    {
        try
        {
            if (_old is null || _swapsFolders)
                FolderCalls.Flush(_stage);
            if (_old is null)
                Directory.Move(_stage, _real);
            else if (_swapsFolders)
                SwapFolders();
            else
                ReplaceFiles(_old);
        }
        catch (Exception e) when (ModelFile.IsFileError(e))
        {
            string result = _isPublished ? "; the new model was written" : "";
            throw new FedIcuException($"The folder '{_folder}' cannot be written: {FileFailure.Describe(e)}{result}.", e);
        }

        _isPublished = true;
        if (Path.GetDirectoryName(_real) is { } parent)
            FolderCalls.Flush(parent);
    }

    public void Discard()
    {
        foreach (StagedFile file in _files)
        {
            file.Discard();
            // Shards without an index are of no use. Other files have already replaced old ones, so they stay.
            if (_layout.IsSharded && _marker is not { IsPublished: true })
                file.Withdraw();
        }

        _marker?.Discard();
        if (_stage.Length > 0)
            FilePlace.Remove(_stage);
        _lock?.Dispose();
        if (!_isPublished)
            _parents.Remove();
    }

    private string At(string name) => Path.Combine(_real, name);

    private static bool IsLink(string path) => new FileInfo(path).LinkTarget is not null;

    private void CheckOldFolder(ReplacedFolder old)
    {
        if (old.Shadows.Length > 0 && !_options.Replace)
        {
            throw new FedIcuException(
                $"The folder '{_folder}' holds {old.Shadows[0]}, which readers would open instead of the new model: " +
                "remove it, choose another folder, or replace it (--replace, OutputOptions.Replace).");
        }

        if (_layout.IsSharded && _options.FollowLinks && IsLink(At(_layout.DecidingName)))
        {
            throw new FedIcuException(
                $"'{_folder}': the index {_layout.DecidingName} is a symbolic link, and new shards would not be beside its target; " +
                "the target's own folder, or a replaced link (without FollowLinks), was expected.");
        }

        foreach (string name in _layout.Files.Select(file => file.Name).Append(_layout.DecidingName))
            StagedFile.CheckPlace(Path.Combine(_folder, name), _options.FollowLinks);
    }

    private StagedFile Stage(string name, long length)
    {
        string path = Path.Combine(_folder, name), target = At(name);
        if (_options.FollowLinks && IsLink(target))
            return StagedFile.Beside(path, length, _options);
        string? like = File.Exists(target) ? name : _old?.Shards.FirstOrDefault(shard => File.Exists(At(shard)));
        return StagedFile.Within(path, target, _stage, At(like ?? name), length);
    }

    /// <summary>Creates the folder for the staged files.</summary>
    /// <param name="changesBothFiles">Whether an adapter's configuration and weights must be replaced together.</param>
    /// <returns>The folder, and whether publishing swaps it with the old folder.</returns>
    private (string Stage, bool SwapsFolders) CreateStage(bool changesBothFiles)
    {
        string beside = OutputLock.NewTemporary(_real), inside = FolderLeftovers.StageOf(_real, _layout.Generation);
        if (changesBothFiles)
        {
            bool follows = _options.FollowLinks && (IsLink(At(ModelFolder.AdapterConfig)) || IsLink(At(ModelFolder.AdapterModel)));
            if (!follows && FolderExchange.TryPrepare(beside, At(ModelFolder.AdapterConfig)))
                return (beside, true);
            if (!_options.Replace)
            {
                throw new FedIcuException(
                    $"The folder '{_folder}' holds a different {ModelFolder.AdapterConfig}, and the adapter's two files cannot be " +
                    "replaced in one step here: choose another folder, or replace it (--replace, OutputOptions.Replace).");
            }
        }

        string stage = _old is null ? beside : inside;
        try
        {
            Directory.CreateDirectory(stage);
            return (stage, false);
        }
        catch (Exception e) when (ModelFile.IsFileError(e))
        {
            string what = _old is null ? "created" : "written";
            throw new FedIcuException($"The folder '{_folder}' cannot be {what}: {FileFailure.Describe(e)}.", e);
        }
    }

    private void SwapFolders()
    {
        FolderExchange.Swap(_stage, _real);
        _isPublished = true;
        FolderExchange.MoveLateFiles(_stage, _real);
    }

    /// <summary>Renames the files into place, the deciding file last, then removes what they replace.</summary>
    private void ReplaceFiles(ReplacedFolder old)
    {
        string[] obsolete = old.FindObsoleteFiles();
        string? otherIndex = old.OtherIndex;
        if (_layout.IsSharded)
            FolderLeftovers.NoteReplaced(_stage, obsolete);
        if (_removesMarker)
            _marker!.RemoveOld();
        _files.ForEach(file => file.Publish());
        FolderCalls.Flush(_real);
        // A folder must have exactly one index at any moment. The new index first replaces the other one, then takes
        // its own name.
        _marker?.Publish(through: otherIndex is null ? null : At(otherIndex));
        _isPublished = true;
        FolderCalls.Flush(_real);

        foreach (string shadow in old.Shadows)
            File.Delete(At(shadow));
        foreach (string name in obsolete)
            FilePlace.Remove(At(name));
    }
}
