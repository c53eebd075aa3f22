namespace FedICU.Safetensors;

/// <summary>A model in one file, renamed over the old one.</summary>
internal sealed class FilePublication(string path, IReadOnlyList<TensorInfo> tensors, OutputOptions options) : IPublication
{
    private StagedFile? _file;

    public IReadOnlyList<(string Path, IReadOnlyList<TensorInfo> Tensors)> Files { get; } = [(path, tensors)];

    public KeyValuePair<string, string>? Stamp => null;

    public StagedFile Stage(int file, long length) => _file = StagedFile.Beside(path, length, options);

    public void Publish() => _file!.Publish();

    public void Discard() => _file?.Discard();
}
