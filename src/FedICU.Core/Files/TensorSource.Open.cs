using FedICU.Files;
using FedICU.Text;

namespace FedICU;

public abstract partial class TensorSource
{
    /// <summary>
    /// Opens a model on disk. A folder is opened as an adapter (adapter_config.json), a sharded model (its only
    /// <c>*.safetensors.index.json</c>) or a single model.safetensors, in this order. A file named <c>*.index.json</c>
    /// is opened as an index, any other file as a safetensors file.
    /// </summary>
    /// <param name="path">The file or folder.</param>
    /// <param name="access">
    /// How the data is read. Use <see cref="FileAccessMode.Mapped"/> only for files that nobody truncates while they
    /// are open.
    /// </param>
    /// <exception cref="InvalidModelException">
    /// There is no model at the path, or it is malformed. The message is one sentence.
    /// </exception>
    public static TensorSource Open(string path, FileAccessMode access = FileAccessMode.Read) => Open(path, access, null);

    /// <summary>
    /// Opens a model for a round. Its files stay open only while the round has handles for them. Files with the same
    /// layout share the memory of their headers.
    /// </summary>
    internal static TensorSource Open(string path, FileAccessMode access, RoundFiles? round)
    {
        ArgumentNullException.ThrowIfNull(path);
        if (!Directory.Exists(path))
        {
            return path.EndsWith(".index.json", StringComparison.Ordinal)
                ? ShardedModel.Open(path, access, round)
                : SafetensorsFile.Open(path, access, round);
        }

        string[] markers = [.. ModelFolder.ListMarkers(path)];
        try
        {
            return OpenFolder(path, markers, access, round);
        }
        catch (InvalidModelException) when (ModelFolder.ListMarkers(path).ToArray() is { } now && !now.SequenceEqual(markers))
        {
            // A writer has meanwhile turned the folder into a model of another kind.
            return OpenFolder(path, [.. ModelFolder.ListMarkers(path)], access, round);
        }
    }

    private static TensorSource OpenFolder(string path, string[] markers, FileAccessMode access, RoundFiles? round) => markers switch
    {
        [] => throw NoModel(path),
        [ModelFolder.AdapterConfig, ..] => PeftAdapter.Open(path, access, round),
        [var first, var second, ..] when ModelFolder.IsIndex(second) =>
            throw new InvalidModelException(
                $"The folder '{path}' holds two indexes, {Sentence.Quote(first)} and {Sentence.Quote(second)}: " +
                "give the path of the one to open."),
        [ModelFolder.SingleFile] => SafetensorsFile.Open(Path.Combine(path, ModelFolder.SingleFile), access, round),
        [var index, ..] => ShardedModel.Open(Path.Combine(path, index), access, round),
    };

    private static InvalidModelException NoModel(string folder)
    {
        try
        {
            _ = File.GetAttributes(Path.Combine(folder, ModelFolder.SingleFile));
        }
        catch (UnauthorizedAccessException e)
        {
            // A folder that may not be entered appears to be empty.
            return new InvalidModelException($"The folder '{folder}' cannot be read: permission denied.", e);
        }
        catch (IOException)
        {
            // It does not exist.
        }

        return new InvalidModelException($"The folder '{folder}' holds no model: none of " +
            $"{ModelFolder.AdapterConfig}, *{ModelFolder.IndexEnding}, {ModelFolder.SingleFile} is there.");
    }
}
