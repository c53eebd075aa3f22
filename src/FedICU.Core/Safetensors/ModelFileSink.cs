namespace FedICU.Safetensors;

/// <summary>Which files a model's tensors go to.</summary>
/// <param name="Files">Each safetensors file with its tensors.</param>
/// <param name="Marker">The small file that makes a folder a model of its kind (index, adapter config); null for a lone file.</param>
internal sealed record OutputLayout(
    IReadOnlyList<(string Path, IReadOnlyList<TensorInfo> Tensors)> Files, (string Path, ReadOnlyMemory<byte> Bytes)? Marker);

/// <summary>
/// Writes a model to one or several safetensors files. All are written under temporary names and flushed; then the tensors are renamed, the
/// marker last. One file is replaced atomically. With several the old marker is removed before the first rename, unless it stays the same and there
/// is one file of tensors: a crash in between leaves whole files in a folder that no longer opens, never a mixture of two rounds that does.
/// </summary>
/// <param name="place">The file or folder, for messages.</param>
/// <param name="folder">The folder to create where it is missing; null where the folder must be there.</param>
/// <param name="plan">Assigns the tensors to files.</param>
internal sealed class ModelFileSink(string place, string? folder, Func<IReadOnlyList<TensorInfo>, OutputLayout> plan) : TensorSink
{
    private readonly List<StagedModel> _models = [];
    private readonly Dictionary<string, StagedModel> _homes = new(StringComparer.Ordinal);
    private StagedFile? _marker;
    private bool _markerStays;
    // innermost first
    private readonly List<string> _createdFolders = [];
    private bool _begun;

    internal override (string Path, bool IsFolder)? Place => (place, folder is not null);

    public override void Begin(IReadOnlyList<TensorInfo> tensors, IReadOnlyDictionary<string, string> metadata)
    {
        ArgumentNullException.ThrowIfNull(tensors);
        ArgumentNullException.ThrowIfNull(metadata);
        if (Interlocked.Exchange(ref _begun, true))
            throw new InvalidOperationException($"A model is being written to '{place}' already: it must end in Commit or Abort first.");

        try
        {
            OutputLayout layout = plan(tensors);
            PrepareFolder(layout);
            foreach (var (path, content) in layout.Files)
            {
                var model = new StagedModel(path, content, metadata);
                _models.Add(model);
                foreach (TensorInfo tensor in content)
                    _homes.Add(tensor.Name, model);
            }

            if (layout.Marker is { } marker)
                StageMarker(marker.Path, marker.Bytes.Span, layout.Files.Count);
        }
        catch
        {
            Abort();
            throw;
        }
    }

    public override void Write(TensorInfo tensor, long offset, ReadOnlySpan<byte> source)
    {
        ArgumentNullException.ThrowIfNull(tensor);
        if (!_homes.TryGetValue(tensor.Name, out StagedModel? model))
            throw new ArgumentException($"Tensor {Sentence.Quote(tensor.Name)} is not of the model being written to '{place}'.", nameof(tensor));
        model.Write(tensor, offset, source);
    }

    internal override bool CanAmend => true;

    internal override void Amend(IReadOnlyDictionary<string, string> metadata) => _models.ForEach(model => model.Amend(metadata));

    public override void Commit()
    {
        if (!_begun)
            throw new InvalidOperationException($"No model is being written to '{place}'.");
        foreach (StagedModel model in _models)
            model.CheckComplete();
        foreach (StagedModel model in _models)
            model.File.Seal();
        _marker?.Seal();

        if (!_markerStays)
            _marker?.RemoveOld();
        foreach (StagedModel model in _models)
            model.File.Publish();
        if (!_markerStays)
            _marker?.Publish();

        _createdFolders.Clear();
        Abort(); // nothing is left to discard but a marker that stays
    }

    public override void Abort()
    {
        foreach (StagedModel model in _models)
            model.File.Discard();
        _marker?.Discard();
        RemoveFolders();

        _models.Clear();
        _homes.Clear();
        (_marker, _markerStays, _begun) = (null, false, false);
    }

    private void PrepareFolder(OutputLayout layout)
    {
        if (folder is null)
            return;
        string real = FilePlace.Real(folder);
        if (File.Exists(real))
            throw new FedIcuException($"'{folder}' is a file, expected a folder.");
        if (FilePlace.FileAbove(folder) is { } above)
            throw new FedIcuException($"The folder '{folder}' cannot be created: '{above}' is a file, expected a folder.");
        try
        {
            for (string? missing = real; missing is not null && !Path.Exists(missing); missing = Path.GetDirectoryName(missing))
                _createdFolders.Add(missing);
            Directory.CreateDirectory(real);
        }
        catch (Exception e) when (ModelFile.IsFileError(e))
        {
            throw new FedIcuException($"The folder '{folder}' cannot be created: {FileFailure.Describe(e)}.", e);
        }

        // what decides how a folder is read must be ours, or the next reader finds another model than the one just written
        string kind = Path.GetFileName(layout.Marker?.Path ?? ModelFolder.SingleFile);
        foreach (string name in ModelFolder.Precedence.TakeWhile(name => name != kind))
        {
            if (File.Exists(Path.Combine(folder, name)))
                throw new FedIcuException(
                    $"The folder '{folder}' holds {name}, so what is written there would not be read: remove it or choose another folder.");
        }
    }

    private void StageMarker(string path, ReadOnlySpan<byte> bytes, int files)
    {
        _markerStays = files <= 1 && Holds(path, bytes);
        _marker = new StagedFile(path, bytes.Length);
        _marker.Write(bytes, 0);
    }

    /// <summary>Whether a file holds those bytes; one that cannot be read is to be replaced as any other.</summary>
    private static bool Holds(string path, ReadOnlySpan<byte> bytes)
    {
        try
        {
            return new FileInfo(path) is { Exists: true } old && old.Length == bytes.Length && bytes.SequenceEqual(ModelFile.ReadAll(path, bytes.Length));
        }
        catch (Exception e) when (e is InvalidModelException || ModelFile.IsFileError(e))
        {
            return false;
        }
    }

    private void RemoveFolders()
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

        _createdFolders.Clear();
    }
}
