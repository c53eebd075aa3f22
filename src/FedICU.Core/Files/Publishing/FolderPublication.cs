namespace FedICU.Files.Publishing;

/// <summary>
/// A model in a folder. A new folder is staged beside its place and renamed whole. In an existing one the files are staged in a hidden
/// folder inside; then the shards are renamed,
/// whose names no other round has, and the index last; or an adapter's weights alone; or, where its configuration changes too, the two
/// folders change places in one step.
/// </summary>
internal sealed class FolderPublication : IPublication
{
    private readonly string _folder, _real, _stage = "";
    private readonly FolderLayout _layout;
    private readonly OutputOptions _options;
    private readonly OutputLock? _lock;
    private readonly bool _isNew, _exchanges, _removesMarker;
    private readonly string[] _replacedShards = [], _shadows = [];
    // innermost first
    private readonly List<string> _createdFolders = [];
    private readonly List<StagedFile> _files = [];
    private readonly StagedFile? _marker;
    private bool _published;

    /// <summary>Takes the folder's lock and begins to write.</summary>
    /// <param name="folder">The folder as it was given.</param>
    /// <param name="layout">Its files.</param>
    /// <param name="options">What is to be replaced or followed.</param>
    /// <exception cref="FedIcuException">
    /// The folder cannot be written, is written by another run, or holds what readers would take in place of the model.
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
            CreateParents();
            _lock = options.IsOwned ? null : OutputLock.Take(_real, folder);
            _isNew = !Directory.Exists(_real);
            if (!_isNew)
            {
                if (_lock is { IsExclusive: true })
                    FolderLeftovers.Remove(_real);
                _replacedShards = layout.IsSharded ? FolderLeftovers.ShardsOf(_real, layout.DecidingName) ?? [] : [];
                _shadows = [.. Shadows()];
                if (_shadows.Length > 0 && !options.Replace)
                    throw new FedIcuException($"The folder '{folder}' holds {_shadows[0]}, which readers would take in place of the new " +
                        "model: remove it, choose another folder, or replace it (--replace, OutputOptions.Replace).");
                if (layout.IsSharded && options.FollowLinks && IsLink(At(layout.DecidingName)))
                {
                    throw new FedIcuException(
                        $"'{folder}': the index {layout.DecidingName} is a symbolic link, and new shards would not lie beside its target; " +
                        "the target's own folder, or a replaced link (without FollowLinks), was expected.");
                }

                foreach (string name in layout.Files.Select(file => file.Name).Append(layout.DecidingName))
                    StagedFile.CheckPlace(Path.Combine(folder, name), options.FollowLinks);
            }

            bool keepsMarker = !_isNew && layout.Marker is { } marker && !layout.IsSharded && Holds(At(marker.Name), marker.Bytes.Span);
            (_stage, _exchanges, _removesMarker) = CreateStage(changesBoth: !_isNew && !keepsMarker && HoldsAdapter());
            if (layout.Marker is { } staged && !keepsMarker)
            {
                _marker = Stage(staged.Name, staged.Bytes.Length);
                _marker.Write(staged.Bytes.Span, 0);
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
            if (_isNew)
                Directory.Move(_stage, _real);
            else if (_exchanges)
                Exchange();
            else
                ReplaceFiles();
        }
        catch (Exception e) when (ModelFile.IsFileError(e))
        {
            string result = _published ? "; the new model was written" : "";
            throw new FedIcuException($"The folder '{_folder}' cannot be written: {FileFailure.Describe(e)}{result}.", e);
        }

        _published = true;
    }

    public void Discard()
    {
        foreach (StagedFile file in _files)
        {
            file.Discard();
            // shards without their index; other files have replaced old ones by then
            if (_layout.IsSharded && _marker is not { IsPublished: true })
                file.Withdraw();
        }

        _marker?.Discard();
        if (_stage.Length > 0)
            FilePlace.Remove(_stage);
        _lock?.Dispose();
        if (!_published)
            RemoveCreated();
    }

    private string At(string name) => Path.Combine(_real, name);

    private static bool IsLink(string path) => new FileInfo(path).LinkTarget is not null;

    private bool HoldsAdapter() =>
        _layout.DecidingName == ModelFolder.AdapterConfig &&
        File.Exists(At(ModelFolder.AdapterConfig)) && File.Exists(At(ModelFolder.AdapterModel));

    private StagedFile Stage(string name, long length)
    {
        string path = Path.Combine(_folder, name), target = At(name);
        if (_options.FollowLinks && IsLink(target))
            return StagedFile.Beside(path, length, _options);
        string? like = File.Exists(target) ? name : _replacedShards.FirstOrDefault(shard => File.Exists(At(shard)));
        return StagedFile.Within(path, target, _stage, At(like ?? name), length);
    }

    /// <summary>The names of files that readers would take for the folder's model in place of the new one.</summary>
    private IEnumerable<string> Shadows()
    {
        if (_layout.DecidingName == ModelFolder.AdapterConfig)
            return [];
        IEnumerable<string> others = ModelFolder.Markers(_real).Where(name => name != _layout.DecidingName);
        if (!_layout.IsSharded)
            return others;
        // transformers and diffusers take the file that the index is named after; our own readers do not, but see no second index
        string single = _layout.DecidingName[..^ModelFolder.IndexEnding.Length] + ".safetensors";
        bool shadows = File.Exists(At(single)) && !_replacedShards.Contains(single);
        return others.Where(name => name != ModelFolder.SingleFile).Concat(shadows ? [single] : []);
    }

    /// <summary>Creates the folder of the staged files, and decides how an adapter's two files are replaced together.</summary>
    private (string Stage, bool Exchanges, bool RemovesMarker) CreateStage(bool changesBoth)
    {
        string beside = OutputLock.NewTemporary(_real), inside = FolderLeftovers.StageOf(_real, _layout.Generation);
        if (changesBoth)
        {
            bool follows = _options.FollowLinks && (IsLink(At(ModelFolder.AdapterConfig)) || IsLink(At(ModelFolder.AdapterModel)));
            if (!follows && CanExchange(beside))
                return (beside, true, false);
            if (!_options.Replace)
                throw new FedIcuException($"The folder '{_folder}' holds another {ModelFolder.AdapterConfig}, and its two files cannot " +
                    "be replaced in one step here: choose another folder, or replace it (--replace, OutputOptions.Replace).");
        }

        string stage = _isNew ? beside : inside;
        try
        {
            Directory.CreateDirectory(stage);
            return (stage, false, changesBoth);
        }
        catch (Exception e) when (ModelFile.IsFileError(e))
        {
            string what = _isNew ? "created" : "written";
            throw new FedIcuException($"The folder '{_folder}' cannot be {what}: {FileFailure.Describe(e)}.", e);
        }
    }

    /// <summary>Whether the system exchanges folders and links files there: tried in the stage, which is left where it does.</summary>
    private bool CanExchange(string stage)
    {
        string first = Path.Combine(stage, "first"), second = Path.Combine(stage, "second"), linked = Path.Combine(first, "linked");
        try
        {
            Directory.CreateDirectory(first);
            Directory.CreateDirectory(second);
            if (FolderCalls.TryLink(At(ModelFolder.AdapterConfig), linked) && FolderCalls.TryExchange(first, second))
            {
                Directory.Delete(first, recursive: true);
                Directory.Delete(second, recursive: true);
                return true;
            }
        }
        catch (Exception e) when (ModelFile.IsFileError(e))
        {
            // the folder above is not ours to write
        }

        FilePlace.Remove(stage);
        return false;
    }

    /// <summary>Renames the files, the one that decides last, then removes what it replaces.</summary>
    private void ReplaceFiles()
    {
        IEnumerable<string> written = _layout.Files.Select(file => file.Name);
        string[] replaced = [.. _replacedShards.Concat(_shadows.SelectMany(PartsOf)).Except(written)];
        string? otherIndex = _layout.IsSharded && !File.Exists(At(_layout.DecidingName)) ? Array.Find(_shadows, ModelFolder.IsIndex) : null;
        if (_layout.IsSharded)
            FolderLeftovers.NoteReplaced(_stage, replaced);
        if (_removesMarker)
            _marker!.RemoveOld();
        _files.ForEach(file => file.Publish());
        FolderCalls.Flush(_real);
        // a folder has one index at any moment: the new one takes the other's place, then its own name
        _marker?.Publish(through: otherIndex is null ? null : At(otherIndex));
        _published = true;
        FolderCalls.Flush(_real);

        foreach (string shadow in _shadows)
            File.Delete(At(shadow));
        foreach (string name in replaced)
            FilePlace.Remove(At(name));
    }

    /// <summary>The files of the model that a marker makes of its folder.</summary>
    private string[] PartsOf(string marker) =>
        marker == ModelFolder.AdapterConfig ? [ModelFolder.AdapterModel]
        : ModelFolder.IsIndex(marker) ? FolderLeftovers.ShardsOf(_real, marker) ?? []
        : [];

    /// <summary>Gives the staged folder all else that the old one holds, and lets the two change places.</summary>
    private void Exchange()
    {
        LinkOthers(_real, _stage);
        if (!OperatingSystem.IsWindows())
            File.SetUnixFileMode(_stage, File.GetUnixFileMode(_real));
        if (!FolderCalls.TryExchange(_stage, _real))
            throw new IOException("The system does not exchange the folders.");
        _published = true;
        // what was put there since it was listed
        foreach (string late in Directory.EnumerateFileSystemEntries(_stage).Where(IsOthers))
        {
            if (!Path.Exists(At(Path.GetFileName(late))))
                Directory.Move(late, At(Path.GetFileName(late)));
        }
    }

    private void LinkOthers(string from, string to)
    {
        foreach (FileSystemInfo item in new DirectoryInfo(from).EnumerateFileSystemInfos())
        {
            if (from == _real && !IsOthers(item.FullName))
                continue;
            string name = Path.Combine(to, item.Name);
            if (item is DirectoryInfo { LinkTarget: null })
            {
                Directory.CreateDirectory(name);
                if (!OperatingSystem.IsWindows())
                    File.SetUnixFileMode(name, item.UnixFileMode);
                LinkOthers(item.FullName, name);
            }
            else if (!FolderCalls.TryLink(item.FullName, name))
            {
                throw new IOException("A file that it holds cannot be linked into the new folder.");
            }
        }
    }

    /// <summary>Whether a file of the folder is neither written here nor one of the writing itself.</summary>
    private static bool IsOthers(string path) =>
        Path.GetFileName(path) is not (ModelFolder.AdapterConfig or ModelFolder.AdapterModel or OutputLock.LockEnding) &&
        !FolderLeftovers.IsStage(Path.GetFileName(path.AsSpan()));

    /// <summary>Whether a file holds those bytes; one that cannot be read is to be replaced as any other.</summary>
    private static bool Holds(string path, ReadOnlySpan<byte> bytes)
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

    private void CreateParents()
    {
        try
        {
            string? missing = Path.GetDirectoryName(_real);
            for (; missing is not null && !Path.Exists(missing); missing = Path.GetDirectoryName(missing))
                _createdFolders.Add(missing);
            if (_createdFolders.Count > 0)
                Directory.CreateDirectory(_createdFolders[0]);
        }
        catch (Exception e) when (ModelFile.IsFileError(e))
        {
            throw new FedIcuException($"The folder '{_folder}' cannot be created: {FileFailure.Describe(e)}.", e);
        }
    }

    private void RemoveCreated()
    {
        foreach (string created in _createdFolders)
        {
            try
            {
                Directory.Delete(created);
            }
            catch (Exception e) when (ModelFile.IsFileError(e))
            {
                // it could not be created, or someone has put something there in the meantime
            }
        }
    }
}
