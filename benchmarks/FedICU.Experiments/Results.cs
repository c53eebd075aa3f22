using System.Text.Json;

namespace FedICU.Experiments;

/// <summary>What was measured after a round; 0 is before the first.</summary>
internal sealed record RoundResult
{
    /// <summary>What the runs have in common: <see cref="ExperimentOptions.Name"/>.</summary>
    public required string Options { get; init; }

    public required string Corpus { get; init; }

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

    /// <summary>How far the server went.</summary>
    public double Step { get; init; } = 1;

    public double AggregationMilliseconds { get; init; }

    public double Domain => Domains.Average();
}

/// <summary>Results, a line of JSON each, in the order they came; a run that is stopped keeps its lines and goes on from them.</summary>
internal sealed class ResultFile
{
    private static readonly JsonSerializerOptions Json = new() { PropertyNamingPolicy = JsonNamingPolicy.CamelCase, IgnoreReadOnlyProperties = true };

    private readonly string _path;
    private readonly List<RoundResult> _rows = [];

    public ResultFile(string path)
    {
        _path = path;
        if (!File.Exists(path))
            return;
        foreach (string line in File.ReadLines(path))
        {
            try
            {
                _rows.Add(JsonSerializer.Deserialize<RoundResult>(line, Json)!);
            }
            catch (JsonException)
            {
                // what was being written when the machine stopped is measured again
                break;
            }
        }

        if (_rows.Count < File.ReadLines(path).Count())
            Write();
    }

    public IReadOnlyList<RoundResult> Rows => _rows;

    public void Add(RoundResult row)
    {
        _rows.Add(row);
        File.AppendAllText(_path, JsonSerializer.Serialize(row, Json) + "\n");
    }

    /// <summary>Takes rows out, to measure them again.</summary>
    public void Remove(IReadOnlyCollection<RoundResult> rows)
    {
        _rows.RemoveAll(rows.Contains);
        Write();
    }

    public List<RoundResult> Of(string options, string corpus, string scenario, string method, int seed) =>
        [.. _rows.Where(row => (row.Options, row.Corpus, row.Scenario, row.Method, row.Seed) == (options, corpus, scenario, method, seed)).OrderBy(row => row.Round)];

    private void Write() => File.WriteAllLines(_path, _rows.Select(row => JsonSerializer.Serialize(row, Json)));
}
