using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace FedICU.Experiments;

/// <summary>What was measured after a round; 0 is before the first.</summary>
internal sealed record RoundResult
{
    /// <summary>What the runs have in common: <see cref="ExperimentOptions.Name"/>.</summary>
    public required string Options { get; init; }

    public required string Corpus { get; init; }

    /// <summary><see cref="Experiments.Corpus.Texts"/>.</summary>
    public required string Texts { get; init; }

    /// <summary>The hash of the base that all methods begin with: another kind of processor trains another, and what it measured is no pair of this one's.</summary>
    public required string Base { get; init; }

    public required string Scenario { get; init; }

    public required string Method { get; init; }

    public required int Seed { get; init; }

    public required int Round { get; init; }

    /// <summary>Bits per byte of each domain's test text, in the corpus's order.</summary>
    public required double[] Domains { get; init; }

    /// <summary>Bits per byte of the general test text.</summary>
    public required double General { get; init; }

    /// <summary>Bytes that all clients sent since the beginning, and those of whole updates.</summary>
    public long Sent { get; init; }

    public long Whole { get; init; }

    /// <summary>The mean over clients and tensors of the cosine of a client's update to the mean one, and of its norm.</summary>
    public double Cosine { get; init; }

    public double UpdateNorm { get; init; }

    /// <summary>How far mean(B) mean(A) is from mean(B A), of its norm, the mean over matrices.</summary>
    public double CrossTerm { get; init; }

    public double AggregationMilliseconds { get; init; }

    public double Domain => Domains.Average();
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
        _lock = adds ? new FileStream(path + ".lock", FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None) : null;
        using FileStream? reading = adds ? null : File.Exists(path) ? new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite) : null;
        _file = adds ? new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.ReadWrite) : null;
        if ((reading ?? _file) is not { } file)
            return;
        byte[] bytes = new byte[file.Length];
        file.ReadExactly(bytes);
        int whole = bytes.AsSpan().LastIndexOf((byte)'\n') + 1;
        foreach ((int i, string line) in Encoding.UTF8.GetString(bytes, 0, whole).Split('\n', StringSplitOptions.RemoveEmptyEntries).Index())
        {
            try
            {
                _rows.Add(JsonSerializer.Deserialize<RoundResult>(line, Json)!);
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

    public IEnumerable<RoundResult> Of(string options, string corpus, string texts, string weights, string scenario, string method, int seed) =>
        _rows.Where(row => (row.Options, row.Corpus, row.Texts, row.Base, row.Scenario, row.Method, row.Seed) == (options, corpus, texts, weights, scenario, method, seed));

    public void Dispose()
    {
        _file?.Dispose();
        _lock?.Dispose();
    }
}
