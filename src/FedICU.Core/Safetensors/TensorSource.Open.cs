using FedICU.Safetensors;

namespace FedICU;

public abstract partial class TensorSource
{
    /// <summary>
    /// Opens a model on disk, whatever it is: a folder that holds an adapter (adapter_config.json), a sharded model
    /// (model.safetensors.index.json) or a lone model.safetensors, in this order; an index, named <c>*.index.json</c>; a safetensors file.
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

        return Array.Find(ModelFolder.Precedence, name => File.Exists(Path.Combine(path, name))) switch
        {
            ModelFolder.AdapterConfig => PeftAdapter.Open(path, access, round),
            ModelFolder.ShardIndex => ShardedModel.Open(Path.Combine(path, ModelFolder.ShardIndex), access, round),
            ModelFolder.SingleFile => SafetensorsFile.Open(Path.Combine(path, ModelFolder.SingleFile), access, round),
            _ => throw NoModel(path),
        };
    }

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

        return new InvalidModelException($"The folder '{folder}' holds no model: none of {string.Join(", ", ModelFolder.Precedence)} is there.");
    }
}
