namespace FedICU.Files.Publishing;

/// <summary>A model's files on their way: staged where no reader finds them, then made visible together.</summary>
internal interface IPublication
{
    /// <summary>Each safetensors file, as messages call it, with its tensors.</summary>
    IReadOnlyList<(string Path, IReadOnlyList<TensorInfo> Tensors)> Files { get; }

    /// <summary>The entry that each file's metadata gets; null where there is none.</summary>
    KeyValuePair<string, string>? Stamp { get; }

    /// <summary>Begins one of the files.</summary>
    StagedFile Stage(int file, long length);

    /// <summary>Makes all files visible; each was sealed before.</summary>
    void Publish();

    /// <summary>Ends the publication. What was not published is removed; what was there before stays. Never throws.</summary>
    void Discard();
}
