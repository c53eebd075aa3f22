using FedICU.Files;
using FedICU.Text;

namespace FedICU;

public abstract partial class TensorSource
{
    /// <summary>
    /// Opens a model on disk, whatever it is: a folder that holds an adapter (adapter_config.json), a sharded model
    /// (its one <c>*.safetensors.index.json</c>) or a lone model.safetensors, in this order; an index, named <c>*.index.json</c>; a
    /// safetensors file.
    /// </summary>
    /// <param name="path">The file or folder.</param>
    /// <param name="access">How the data are reached; <see cref="FileAccessMode.Mapped"/> only for files the caller vouches for.</param>
    /// <exception cref="InvalidModelException">There is no model, or it is malformed; the message is one sentence.</exception>
    public static TensorSource Open(string path, FileAccessMode access = FileAccessMode.Read) => Open(path, access, null);

    /// <summary>Opens a model of a round's client: its files stay open as far as the round has room for them, and take little memory where they are like others.</summary>
    internal static TensorSource Open(string path, FileAccessMode access, RoundFiles? round)
    {
        ArgumentNullException.ThrowIfNull(path);
        if (!Directory.Exists(path))
        {
            return path.EndsWith(".index.json", StringComparison.Ordinal)
                ? ShardedModel.Open(path, access, round)
                : SafetensorsFile.Open(path, access, round);
        }

        string[] markers = [.. ModelFolder.Markers(path)];
        try
        {
            return OpenFolder(path, markers, access, round);
        }
        catch (InvalidModelException) when (ModelFolder.Markers(path).ToArray() is { } now && !now.SequenceEqual(markers))
        {
            // a writer has made the folder a model of another kind meanwhile
            return OpenFolder(path, [.. ModelFolder.Markers(path)], access, round);
        }
    }

    private static TensorSource OpenFolder(string path, string[] markers, FileAccessMode access, RoundFiles? round) => markers switch
    {
        [] => throw NoModel(path),
        [ModelFolder.AdapterConfig, ..] => PeftAdapter.Open(path, access, round),
        [var first, var second, ..] when ModelFolder.IsIndex(second) =>
            throw new InvalidModelException($"The folder '{path}' holds two indexes, {Sentence.Quote(first)} and {Sentence.Quote(second)}: " +
                "give the path of the one that is meant."),
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
            // a folder that may not be entered seems to hold nothing
            return new InvalidModelException($"The folder '{folder}' cannot be read: permission denied.", e);
        }
        catch (IOException)
        {
            // it is not there
        }

        return new InvalidModelException($"The folder '{folder}' holds no model: none of " +
            $"{ModelFolder.AdapterConfig}, *{ModelFolder.IndexEnding}, {ModelFolder.SingleFile} is there.");
    }
}
