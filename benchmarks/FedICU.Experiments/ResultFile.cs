using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace FedICU.Experiments;

/// <summary>
/// A file of results, one line of JSON each. A run that is stopped keeps its lines and continues from them. Only one
/// process at a time adds to a file.
/// </summary>
internal sealed class ResultFile : IDisposable
{
    // the figures of a method that diverged are NaN
    private static readonly JsonSerializerOptions Json = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.CamelCase,
        IgnoreReadOnlyProperties = true,
        NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals,
    };

    private readonly FileStream? _file, _lock;
    private readonly List<RoundResult> _rows = [];

    /// <summary>Reads the rows of a file.</summary>
    /// <param name="path">The file.</param>
    /// <param name="adds">Whether rows will be added. If not, nothing is written.</param>
    public ResultFile(string path, bool adds)
    {
        // a separate lock file, because on Unix a shared lock admits a second writer and an exclusive lock excludes
        // readers
        _lock = adds ? Lock(path + ".lock") : null;
        using FileStream? reading = !adds && File.Exists(path)
            ? new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite)
            : null;
        _file = adds ? new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.ReadWrite) : null;
        if ((reading ?? _file) is not { } file)
            return;
        byte[] bytes = new byte[file.Length];
        file.ReadExactly(bytes);
        int whole = bytes.AsSpan().LastIndexOf((byte)'\n') + 1;
        var known = new HashSet<(RunKey, int)>();
        string[] lines = Encoding.UTF8.GetString(bytes, 0, whole).Split('\n', StringSplitOptions.RemoveEmptyEntries);
        foreach ((int i, string line) in lines.Index())
        {
            try
            {
                RoundResult row = JsonSerializer.Deserialize<RoundResult>(line, Json)!;
                row = row with { Run = row.Run.Present() };
                // concatenated files may contain the same round twice
                if (known.Add((row.Run, row.Round)))
                    _rows.Add(row);
            }
            catch (JsonException e)
            {
                throw new InvalidDataException($"'{path}': line {i + 1} is no result: {e.Message}", e);
            }
        }

        // removes an incomplete last line, whose round is measured again
        _file?.SetLength(whole);
        _file?.Seek(0, SeekOrigin.End);
    }

    public IReadOnlyList<RoundResult> Rows => _rows;

    public void Add(RoundResult row)
    {
        _rows.Add(row);
        _file!.Write(Encoding.UTF8.GetBytes(JsonSerializer.Serialize(row, Json) + "\n"));
        _file.Flush();
    }

    public void Dispose()
    {
        _file?.Dispose();
        _lock?.Dispose();
    }

    private static FileStream Lock(string path)
    {
        try
        {
            return new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
        }
        catch (IOException e) when (e is not (FileNotFoundException or DirectoryNotFoundException or PathTooLongException))
        {
            throw new IOException(
                $"Another run adds to the results in '{Path.GetDirectoryName(path)}'; only one at a time can. ({e.Message})", e);
        }
    }
}
