using System.Globalization;
using System.Text.Json;
using FedICU.Files;
using FedICU.Files.Publishing;

namespace FedICU.Fedn;

/// <summary>
/// The file <c>round.json</c> of a combiner's folder. It is replaced as a whole after each change, and names the files
/// that count. Any other file of the folder is an upload that had not ended. A record that is damaged, or cannot be
/// read now, deletes nothing: the folder stays for a later attempt. Not thread-safe.
/// </summary>
/// <remarks>
/// It is no AggregationSession of the library: that one refuses a wrong update as it arrives, but here the policies
/// decide at the aggregation, and a refused update counts as its client's fault.
/// </remarks>
internal sealed class RoundRecordFile(string folder, string authority)
{
    /// <summary>The file's name in the combiner's folder.</summary>
    public const string Name = "round.json";

    private const string Advice = "The round's folder is kept; delete it to give the round up.";

    private const string DamagedUpdate = "the file of its update was damaged after the update had been accepted.";

    // the files that were found whole, by name
    private readonly Dictionary<string, SpoolFile> _restored = new(StringComparer.Ordinal);

    private string RecordPath => Path.Combine(folder, Name);

    /// <summary>Reads the combiner of a folder; null if the folder has no record.</summary>
    /// <exception cref="FedIcuException">The record is damaged, or cannot be read.</exception>
    public static string? ReadCombiner(string folder) => Read(Path.Combine(folder, Name))?.Combiner;

    /// <summary>
    /// Reads the round, checks each of its files, and deletes all others. Without a record it is an empty round.
    /// </summary>
    /// <exception cref="FedIcuException">The record is damaged, or it or one of its files cannot be read.</exception>
    public RestoredRound Restore(Spool spool)
    {
        RoundRecord? record = Read(RecordPath);
        var restored = new RestoredRound();
        if (record is not null)
        {
            SpoolFile? global = Open(spool, record.Global);
            restored = new RestoredRound
            {
                Global = global,
                GlobalDigest = global is null ? null : record.GlobalDigest,
                Result = Open(spool, record.Result),
                Clients = record.Clients.ToDictionary(client => client.Id, client => Restore(spool, client), StringComparer.Ordinal),
                LastFile = _restored.Keys.Select(NumberOf).DefaultIfEmpty().Max(),
            };
        }

        // only now: a file that cannot be read ends the attempt, and a later one counts all files again
        foreach (SpoolFile file in _restored.Values)
            file.Settle();
        foreach (string path in Directory.EnumerateFiles(folder))
        {
            if (path != RecordPath && !_restored.ContainsKey(Path.GetFileName(path)))
                File.Delete(path);
        }

        return restored;
    }

    /// <summary>Replaces the record. The files that it names are on the disk already.</summary>
    /// <exception cref="IOException">The folder cannot be written.</exception>
    /// <exception cref="UnauthorizedAccessException">The folder cannot be written.</exception>
    public void Write(SpoolFile? global, string? digest, SpoolFile? result, IReadOnlyDictionary<string, ClientEntry> clients)
    {
        var record = new RoundRecord
        {
            Version = RoundRecord.CurrentVersion,
            Combiner = authority,
            Global = global?.Seal(),
            GlobalDigest = digest,
            Result = result?.Seal(),
            Clients = [.. clients.Where(client => !client.Value.IsEmpty).Select(client => Describe(client.Key, client.Value))],
        };
        string temporary = RecordPath + ".new";
        using (var file = new FileStream(temporary, FileMode.Create, FileAccess.Write, FileShare.None))
        {
            JsonSerializer.Serialize(file, record, RoundRecordJson.Default.RoundRecord);
            file.Flush(flushToDisk: true);
        }

        File.Move(temporary, RecordPath, overwrite: true);
        FolderCalls.Flush(folder);
    }

    /// <summary>Deletes the record, which makes the round an empty one. Also a full disk has room for that.</summary>
    /// <exception cref="IOException">The folder cannot be written.</exception>
    /// <exception cref="UnauthorizedAccessException">The folder cannot be written.</exception>
    public void Clear()
    {
        File.Delete(RecordPath);
        FolderCalls.Flush(folder);
    }

    /// <summary>Deletes the record and its folder.</summary>
    public void Delete()
    {
        try
        {
            File.Delete(RecordPath);
            Directory.Delete(folder, recursive: true);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // without its record the folder is an empty round
        }
    }

    private static RoundRecord? Read(string path)
    {
        try
        {
            using FileStream file = File.OpenRead(path);
            RoundRecord record = JsonSerializer.Deserialize(file, RoundRecordJson.Default.RoundRecord) ??
                throw new JsonException("it is null");
            return record.Version == RoundRecord.CurrentVersion ? record : throw new FedIcuException(
                $"{Describe(path)} has the version {record.Version}; {RoundRecord.CurrentVersion} was expected. {Advice}");
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            return null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw CannotRead(path, e);
        }
        catch (JsonException e)
        {
            throw new FedIcuException($"{Describe(path)} is damaged; JSON of the service was expected. {Advice}", e);
        }
    }

    private static string Describe(string path) => $"The round's file '{path}'";

    private static FedIcuException CannotRead(string path, Exception e) =>
        new($"{Describe(path)} cannot be read: {FileFailure.Describe(e)}. {Advice}", e);

    private ClientEntry Restore(Spool spool, RoundRecord.ClientRecord client)
    {
        SpoolFile? file = Open(spool, client.File);
        return new ClientEntry
        {
            Metadata = client.HasMetadata ? new ClientMetadata(client.Examples, client.MetadataFault) : null,
            File = file,
            Fault = file is null && client.File is not null ? DamagedUpdate : client.Fault,
        };
    }

    /// <summary>Opens a file that the record names; null if it is missing or damaged.</summary>
    /// <exception cref="FedIcuException">The file cannot be read.</exception>
    private SpoolFile? Open(Spool spool, RoundRecord.FileRecord? record)
    {
        if (record is null || Path.GetFileName(record.Name) != record.Name || NumberOf(record.Name) == 0)
            return null;
        var file = new SpoolFile(spool, Path.Combine(folder, record.Name));
        try
        {
            if (FilePlace.IsSpecial(file.Path) || file.Seal() != record)
                return null;
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            return null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw CannotRead(file.Path, e);
        }

        _restored[record.Name] = file;
        return file;
    }

    private static RoundRecord.ClientRecord Describe(string id, ClientEntry client) => new()
    {
        Id = id,
        HasMetadata = client.Metadata is not null,
        Examples = client.Metadata?.Examples,
        MetadataFault = client.Metadata?.Fault,
        File = client.File?.Seal(),
        Fault = client.Fault,
    };

    /// <summary>Returns the number in the name of a file of the session; 0 if it is none.</summary>
    private static long NumberOf(string name) =>
        long.TryParse(Path.GetFileNameWithoutExtension(name), NumberStyles.None, CultureInfo.InvariantCulture, out long number)
            ? number : 0;
}
