namespace FedICU.Files.Publishing;

/// <summary>
/// Writes a server's state to one safetensors file that belongs to the model of the same round. The order is: write the
/// state and the model, <see cref="Seal"/> the state, commit the model, <see cref="Commit"/> the state. A crash between
/// the two commits leaves a pending state, which <see cref="PendingState.Recover"/> publishes or removes.
/// </summary>
/// <param name="path">The file.</param>
/// <param name="options">Whether links are followed and a lock is taken.</param>
internal sealed class StateFile(string path, OutputOptions options) : TensorSink
{
    private StagedModel? _model;
    private Dictionary<string, string> _metadata = [];
    private bool _isSealed;

    internal override (string Path, bool IsFolder)? Place => (path, false);

    /// <summary>Begins a state and takes the file's lock.</summary>
    /// <param name="tensors">The state's tensors, in the order of the file.</param>
    /// <param name="metadata">
    /// The state's metadata without <see cref="MetadataKeys.Base"/>, which <see cref="Seal"/> adds.
    /// </param>
    /// <exception cref="FedIcuException">The file cannot be written, or another run is writing it.</exception>
    public override void Begin(IReadOnlyList<TensorInfo> tensors, IReadOnlyDictionary<string, string> metadata)
    {
        if (_model is not null)
            throw new InvalidOperationException($"A state is already being written to '{path}': call Commit or Abort first.");
        PendingState.CheckPlace(path, options);
        _metadata = new Dictionary<string, string>(metadata, StringComparer.Ordinal) { [MetadataKeys.Base] = ModelDigest.Unknown };
        _model = new StagedModel(path, tensors, _metadata, length => StagedFile.Beside(path, length, options));
    }

    public override void Write(TensorInfo tensor, long offset, ReadOnlySpan<byte> source) => Model.Write(tensor, offset, source);

    /// <summary>
    /// Adds the digest of the model that the state belongs to, flushes the state to the disk, and gives it the name
    /// under which <see cref="PendingState.Recover"/> finds it. A crash cannot lose the state any more.
    /// </summary>
    /// <param name="baseDigest">The digest of the model that is about to be committed.</param>
    /// <exception cref="FedIcuException">The file cannot be written.</exception>
    /// <exception cref="InvalidOperationException">Bytes of the state have not been written.</exception>
    public void Seal(string baseDigest)
    {
        Model.CheckComplete();
        _metadata[MetadataKeys.Base] = baseDigest;
        Model.Amend(_metadata);
        Model.File.Seal();
        Model.File.Keep(PendingState.Ending);
        _isSealed = true;
    }

    /// <summary>Publishes the sealed state and releases the lock. Call it after the model's commit.</summary>
    /// <exception cref="FedIcuException">The file cannot be written.</exception>
    /// <exception cref="InvalidOperationException">The state is not sealed.</exception>
    public override void Commit()
    {
        if (!_isSealed)
            throw new InvalidOperationException($"The state '{path}' is not sealed.");
        Model.File.Publish();
        FolderCalls.Flush(Path.GetDirectoryName(FilePlace.Destination(path, options.FollowLinks))!);
        End();
    }

    /// <summary>
    /// Keeps the old state and releases the lock. A state that is not sealed is removed. A sealed one stays pending for
    /// the next run, because the model's commit may fail after the model became visible. Never throws.
    /// </summary>
    public override void Abort()
    {
        if (_isSealed)
            Model.File.Release();
        else
            _model?.File.Discard();
        End();
    }

    private StagedModel Model => _model ?? throw new InvalidOperationException($"No state is being written to '{path}'.");

    private void End() => (_model, _isSealed) = (null, false);
}
