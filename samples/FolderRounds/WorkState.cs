using System.Text.Json;
using System.Text.Json.Serialization;
using FedICU;

namespace FolderRounds;

/// <summary>What the worker was doing: on the disk before it is done, so that the next worker can complete it after a crash.</summary>
internal sealed record WorkState
{
    /// <summary>The name of the round's folder.</summary>
    public required string Round { get; init; }

    /// <summary>The digest of the global model that the round began with.</summary>
    public string? Base { get; init; }

    /// <summary>How many workers have begun the round, this one included.</summary>
    public int Attempts { get; init; }

    /// <summary>The round's report, there before the new global model is.</summary>
    public string? Report { get; init; }

    /// <summary>Why the round is put aside.</summary>
    public string? Refusal { get; init; }

    /// <summary>The folder's name where it is put aside.</summary>
    public string? Place { get; init; }
}

[JsonSerializable(typeof(WorkState))]
internal sealed partial class WorkStateJson : JsonSerializerContext;

/// <summary>The file that holds the state. It is beside the inbox, where clients do not write.</summary>
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
                $"'{_path}' does not say which round was under way: {e.Message} " +
                "Put that round's folder into done if the global model has its number, then remove the file.", e);
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
