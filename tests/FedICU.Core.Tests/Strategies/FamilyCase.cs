using System.Text.Json;

namespace FedICU.Tests;

/// <summary>A golden round of shared/golden/family, as its expected.json describes it.</summary>
internal sealed class FamilyCase
{
    private readonly string _folder;
    private readonly string _inputs;
    private readonly JsonElement _root;

    /// <summary>Reads a case.</summary>
    /// <param name="folder">The case's folder; its inputs lie in a folder beside it.</param>
    public FamilyCase(string folder)
    {
        _folder = folder;
        using JsonDocument expected = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(folder, "expected.json")));
        _root = expected.RootElement.Clone();
        _inputs = Path.Combine(Path.GetDirectoryName(folder)!, _root.GetProperty("round").GetString()!);
    }

    public string Rule => _root.GetProperty("rule").GetString()!;

    /// <summary>Gets the options, as <c>--set</c> takes them.</summary>
    public IEnumerable<KeyValuePair<string, string>> Options =>
    [
        .. _root.GetProperty("options").EnumerateObject().Select(option => KeyValuePair.Create(option.Name, Format(option.Value))),
        .. FindFile("root.safetensors") is { } root ? new[] { KeyValuePair.Create("root", root) } : [],
    ];

    public string Global => FindModel("global");

    /// <summary>Gets the paths of the clients' updates, in the order of the case.</summary>
    public string[] Clients
    {
        get
        {
            IEnumerable<int> numbers = _root.TryGetProperty("clients", out JsonElement some)
                ? some.EnumerateArray().Select(client => client.GetInt32())
                : Enumerable.Range(0, Directory.GetFileSystemEntries(_inputs, "client-*").Length);
            return [.. numbers.Select(number => FindModel($"client-{number}"))];
        }
    }

    /// <summary>Returns what a client states, by its place among the clients of the case.</summary>
    public ClientStatements GetStatements(int place) => new()
    {
        LocalSteps = GetInput("local_steps", place),
        Loss = GetInput("loss", place),
        Staleness = GetInput("staleness", place),
        Control = FindControl(Path.GetFileNameWithoutExtension(Clients[place])),
    };

    /// <summary>Gets the path of the expected model.</summary>
    public string Result => Path.Combine(_folder, "expected.safetensors");

    /// <summary>Gets the path of the expected state; null if the rule keeps none.</summary>
    public string? StateResult => FindFile("expected-state.safetensors");

    public long RoundsFinished => _root.GetProperty("rounds-finished").GetInt64();

    /// <summary>Gets the expected scores of the clients; null if the case has none.</summary>
    public double[]? Scores => Find("scores") is { } scores && scores[0].ValueKind == JsonValueKind.Number
        ? [.. scores.EnumerateArray().Select(score => score.GetDouble())]
        : null;

    /// <summary>
    /// Gets the share of a tensor's largest magnitude by which singular vectors may differ: the closer two singular
    /// values are, the more rounding turns their vectors. 0 for rules without singular values.
    /// </summary>
    public double FactorTolerance => !_root.TryGetProperty("expected", out JsonElement expected) ? 0 : expected.EnumerateObject()
        .Where(module => module.Value.ValueKind == JsonValueKind.Object && module.Value.TryGetProperty("smallest_gap", out _))
        .Select(module => 1e-9 / module.Value.GetProperty("smallest_gap").GetDouble()).DefaultIfEmpty(0).Max();

    /// <summary>Gets an expected number of each LoRA pair, by the module's name; empty if the case has none.</summary>
    public IReadOnlyDictionary<string, double> GetPairNumbers(string name) =>
        !_root.TryGetProperty("expected", out JsonElement expected) ? new Dictionary<string, double>() : expected.EnumerateObject()
            .Where(module => module.Value.ValueKind == JsonValueKind.Object && module.Value.TryGetProperty(name, out _))
            .ToDictionary(module => module.Name, module => module.Value.GetProperty(name).GetDouble());

    /// <summary>Gets the places of the clients that are chosen, in ordinal order; null if the case has none.</summary>
    public string[]? Chosen => Find("chosen") is { } chosen
        ? [.. chosen.EnumerateArray().Select(client => client.ToString()).Order(StringComparer.Ordinal)]
        : null;

    /// <summary>Lists the names of the cases of some rules.</summary>
    public static IEnumerable<string> List(string family, Func<string, bool> isRule) => Directory.GetDirectories(family)
        .Where(folder => ReadRule(folder) is { } rule && isRule(rule)).Select(folder => Path.GetFileName(folder)!)
        .Order(StringComparer.Ordinal);

    /// <summary>
    /// Writes the state before the round, unless it is a first round. A golden state states no base; a real one does.
    /// </summary>
    public void WriteState(string path)
    {
        using TensorSource global = TensorSource.Open(Global);
        TensorSink sink = TensorSink.ToFile(path);
        if (FindFile("state-in.safetensors") is not { } before)
        {
            if (StateResult is null || RoundsFinished == 0)
                return;
            // a state without tensors, which only counts rounds
            sink.Begin([], new Dictionary<string, string>
            {
                ["fedicu.state"] = Rule,
                ["rounds"] = $"{RoundsFinished}",
                ["fedicu.base"] = ModelDigest.Compute(global),
            });
            sink.Commit();
            return;
        }

        using TensorSource state = TensorSource.Open(before);
        sink.Begin(state.Tensors, new Dictionary<string, string>(state.Metadata) { ["fedicu.base"] = ModelDigest.Compute(global) });
        foreach (TensorInfo tensor in state.Tensors)
        {
            byte[] data = new byte[tensor.ByteLength];
            state.Read(tensor, 0, data);
            sink.Write(tensor, 0, data);
        }

        sink.Commit();
    }

    private static string? ReadRule(string folder)
    {
        string file = Path.Combine(folder, "expected.json");
        if (!File.Exists(file))
            return null;
        using JsonDocument expected = JsonDocument.Parse(File.ReadAllBytes(file));
        return expected.RootElement.TryGetProperty("rule", out JsonElement rule) ? rule.GetString() : null;
    }

    private JsonElement? Find(string name) =>
        _root.TryGetProperty("expected", out JsonElement expected) && expected.TryGetProperty(name, out JsonElement value) ? value : null;

    /// <summary>Writes true and false as options have them.</summary>
    private static string Format(JsonElement value) =>
        value.ValueKind is JsonValueKind.True or JsonValueKind.False ? value.GetRawText() : value.ToString();

    private string? FindControl(string client)
    {
        string pattern = _root.TryGetProperty("inputs", out JsonElement inputs) && inputs.TryGetProperty("controls", out JsonElement given)
            ? given.GetString()!
            : "client-K-control.safetensors";
        return FindFile(pattern.Replace("client-K", client, StringComparison.Ordinal));
    }

    private double? GetInput(string name, int place) =>
        _root.TryGetProperty("inputs", out JsonElement inputs) && inputs.TryGetProperty(name, out JsonElement values)
            ? values[place].GetDouble()
            : null;

    private string? FindFile(string name) => File.Exists(Path.Combine(_folder, name)) ? Path.Combine(_folder, name) : null;

    /// <summary>A model is a file, or an adapter's folder.</summary>
    private string FindModel(string name) =>
        Directory.Exists(Path.Combine(_inputs, name)) ? Path.Combine(_inputs, name) : Path.Combine(_inputs, name + ".safetensors");
}
