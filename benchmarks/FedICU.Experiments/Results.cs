using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace FedICU.Experiments;

/// <summary>What a method's rounds are known by: rows of another key are no pair of these.</summary>
/// <param name="Options"><see cref="ExperimentOptions.Name"/>.</param>
/// <param name="Corpus"><see cref="Experiments.Corpus.Source"/>.</param>
/// <param name="Texts"><see cref="Experiments.Corpus.Texts"/>.</param>
/// <param name="Base">The hash of the base that all methods begin with.</param>
/// <param name="Machine">Torch's kernels differ between processors, and with the number of threads.</param>
/// <param name="Scenario">Its name.</param>
/// <param name="Method">Its name.</param>
/// <param name="Settings"><see cref="Experiments.Method.Settings"/>.</param>
/// <param name="Seed">From 1.</param>
internal sealed record RunKey(string Options, string Corpus, string Texts, string Base, string Machine, string Scenario, string Method, string Settings, int Seed);

/// <summary>What was measured after a round; 0 is before the first.</summary>
internal sealed record RoundResult
{
    public required RunKey Run { get; init; }

    public required int Round { get; init; }

    /// <summary>Bits per byte of each domain's test text.</summary>
    public required Dictionary<string, double> Domains { get; init; }

    /// <summary>Bits per byte of the general test text; NaN of a method that diverged.</summary>
    public required double General { get; init; }

    /// <summary>Bytes that all clients sent since the beginning, and those of whole updates.</summary>
    public long Sent { get; init; }

    public long Whole { get; init; }

    /// <summary>The mean over clients and tensors of the cosine of a client's update to the mean one, and of its norm.</summary>
    public double Cosine { get; init; }

    public double UpdateNorm { get; init; }

    /// <summary>How far mean(B) mean(A) is from mean(B A), of its norm, the mean over matrices; null where no factors were averaged.</summary>
    public double? CrossTerm { get; init; }

    /// <summary>The server's step, with the report's statistics.</summary>
    public double ServerMilliseconds { get; init; }

    /// <summary>Of the entries that masks chose, those that the same client's mask before had too; null without masks, in the first round and the first after a stop.</summary>
    public double? SentAgain { get; init; }

    public double Domain => Domains.Values.Average();

    public bool IsDiverged => double.IsNaN(General);
}

/// <summary>
/// Results, a line of JSON each, in the order they came; a run that is stopped keeps its lines and goes on from them. Only one process adds to a file at a time.
/// </summary>
internal sealed class ResultFile : IDisposable
{
    // a method that diverged has NaN
    private static readonly JsonSerializerOptions Json = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.CamelCase,
        IgnoreReadOnlyProperties = true,
        NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals,
    };

    private readonly FileStream? _file, _lock;
    private readonly List<RoundResult> _rows = [];

    /// <summary>Reads what is there.</summary>
    /// <param name="path">The file.</param>
    /// <param name="adds">Whether rows will be added; false: nothing is written.</param>
    public ResultFile(string path, bool adds)
    {
        // a file of its own: on Unix a shared lock keeps no second writer out, and an exclusive one keeps readers out
        _lock = adds ? Lock(path + ".lock") : null;
        using FileStream? reading = adds ? null : File.Exists(path) ? new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite) : null;
        _file = adds ? new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.ReadWrite) : null;
        if ((reading ?? _file) is not { } file)
            return;
        byte[] bytes = new byte[file.Length];
        file.ReadExactly(bytes);
        int whole = bytes.AsSpan().LastIndexOf((byte)'\n') + 1;
        var known = new HashSet<(RunKey, int)>();
        foreach ((int i, string line) in Encoding.UTF8.GetString(bytes, 0, whole).Split('\n', StringSplitOptions.RemoveEmptyEntries).Index())
        {
            try
            {
                RoundResult row = JsonSerializer.Deserialize<RoundResult>(line, Json)!;
                // files that were put together may have the same round twice
                if (known.Add((row.Run, row.Round)))
                    _rows.Add(row);
            }
            catch (JsonException e)
            {
                throw new InvalidDataException($"'{path}': line {i + 1} is no result: {e.Message}", e);
            }
        }

        // a line that was being written when the machine stopped is measured again
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
            throw new IOException($"Another run adds to the results in '{Path.GetDirectoryName(path)}'; one at a time can. ({e.Message})", e);
        }
    }
}
