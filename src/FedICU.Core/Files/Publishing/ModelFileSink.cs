using FedICU.Text;

namespace FedICU.Files.Publishing;

/// <summary>
/// Writes a model to one or several safetensors files, which become visible together on <see cref="Commit"/>
/// (docs/adr/0015).
/// </summary>
/// <param name="place">The file or folder, as messages call it.</param>
/// <param name="isFolder">Whether the place is a folder.</param>
/// <param name="holdsConfig">Whether an adapter's configuration is written.</param>
/// <param name="begin">Assigns the tensors to files and takes the lock.</param>
internal sealed class ModelFileSink(
    string place, bool isFolder, bool holdsConfig, Func<IReadOnlyList<TensorInfo>, PeftAdapterConfig?, IPublication> begin) : TensorSink
{
    private readonly List<StagedModel> _models = [];
    private readonly Dictionary<string, StagedModel> _homes = new(StringComparer.Ordinal);
    private IPublication? _publication;
    private bool _begun;

    internal override (string Path, bool IsFolder)? Place => (place, isFolder);

    internal override bool HoldsAdapterConfig => holdsConfig;

    public override void Begin(IReadOnlyList<TensorInfo> tensors, IReadOnlyDictionary<string, string> metadata)
    {
        ArgumentNullException.ThrowIfNull(tensors);
        ArgumentNullException.ThrowIfNull(metadata);
        if (Interlocked.Exchange(ref _begun, true))
            throw new InvalidOperationException($"A model is already being written to '{place}': call Commit or Abort first.");

        try
        {
            _publication = begin(tensors, AdapterConfig);
            IReadOnlyDictionary<string, string> stamped = AddStamp(metadata);
            for (int i = 0; i < _publication.Files.Count; i++)
            {
                (int file, (string path, IReadOnlyList<TensorInfo> content)) = (i, _publication.Files[i]);
                var model = new StagedModel(path, content, stamped, length => _publication.Stage(file, length));
                _models.Add(model);
                foreach (TensorInfo tensor in content)
                    _homes.Add(tensor.Name, model);
            }
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
            throw new ArgumentException(
                $"Tensor {Sentence.Quote(tensor.Name)} is not part of the model being written to '{place}'.", nameof(tensor));
        model.Write(tensor, offset, source);
    }

    internal override bool CanAmend => true;

    internal override void Amend(IReadOnlyDictionary<string, string> metadata)
    {
        IReadOnlyDictionary<string, string> stamped = AddStamp(metadata);
        _models.ForEach(model => model.Amend(stamped));
    }

    public override void Commit()
    {
        if (_publication is null)
            throw new InvalidOperationException($"No model is being written to '{place}'.");
        foreach (StagedModel model in _models)
            model.CheckComplete();
        foreach (StagedModel model in _models)
            model.File.Seal();
        _publication.Publish();
        Abort(); // all files are published; this removes the staging folder and releases the lock
    }

    public override void Abort()
    {
        _publication?.Discard();
        _models.Clear();
        _homes.Clear();
        (_publication, _begun) = (null, false);
    }

    /// <summary>
    /// Returns the metadata with this publication's entry and without the entries that describe other files.
    /// </summary>
    private Dictionary<string, string> AddStamp(IReadOnlyDictionary<string, string> metadata)
    {
        var stamped = new Dictionary<string, string>(PackedMetadata.WithoutFileKeys(metadata), StringComparer.Ordinal);
        if (_publication!.Stamp is { } stamp)
            stamped[stamp.Key] = stamp.Value;
        return stamped;
    }
}
