using System.Text.Json;
using FedICU;

namespace FolderRounds;

/// <summary>
/// Reads and writes the file of the worker's state. It lies beside the inbox, in a folder that clients do not write.
/// </summary>
internal sealed class WorkStateFile(string folder)
{
    public const string FileName = ".round.json";

    private readonly string _path = Path.Combine(folder, FileName);

    /// <exception cref="FedIcuException">The file cannot be read.</exception>
    public WorkState? Load()
    {
        try
        {
            return File.Exists(_path) ? JsonSerializer.Deserialize(File.ReadAllBytes(_path), WorkStateJson.Default.WorkState) : null;
        }
        catch (Exception e) when (e is JsonException or IOException or UnauthorizedAccessException)
        {
            throw new FedIcuException(
                $"'{_path}' does not say which round was running: {e.Message} " +
                "Move that round's folder into done if the global model has its number, then remove the file.", e);
        }
    }

    /// <exception cref="FedIcuException">The file cannot be written.</exception>
    public void Save(WorkState state) =>
        Change(() => WholeFile.Write(folder, FileName, JsonSerializer.SerializeToUtf8Bytes(state, WorkStateJson.Default.WorkState)));

    /// <exception cref="FedIcuException">The file cannot be removed.</exception>
    public void Clear() => Change(() => File.Delete(_path));

    private void Change(Action action)
    {
        try
        {
            action();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new FedIcuException($"'{_path}' cannot be written: {e.Message}", e);
        }
    }
}
