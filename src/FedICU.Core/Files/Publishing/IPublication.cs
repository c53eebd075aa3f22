namespace FedICU.Files.Publishing;

/// <summary>
/// The files of a model that is being written: staged where no reader finds them, then made visible together.
/// </summary>
internal interface IPublication
{
    /// <summary>Gets each safetensors file, by its name in messages, with its tensors.</summary>
    IReadOnlyList<(string Path, IReadOnlyList<TensorInfo> Tensors)> Files { get; }

    /// <summary>Gets the entry to add to each file's metadata, or null if there is none.</summary>
    KeyValuePair<string, string>? Stamp { get; }

    /// <summary>Begins one of the files.</summary>
    StagedFile Stage(int file, long length);

    /// <summary>Makes all files visible. Each must have been sealed.</summary>
    void Publish();

    /// <summary>
    /// Ends the publication. Removes files that were not published and keeps the old ones. Never throws.
    /// </summary>
    void Discard();
}
