using System.Text.Json;
using FedICU.Compute;
using FedICU.Model;
using FedICU.Tests.Files;

namespace FedICU.Tests;

/// <summary>
/// The golden rounds of every registered rule (shared/golden/family): results, states and what the rule reports, on the
/// reference and the SIMD backend, with 1, 2 and 7 threads and shuffled clients.
/// </summary>
internal sealed class FamilyGoldenTests
{
    private static IEnumerable<string> Cases => Golden.Folder is null
        ? []
        : Directory.GetDirectories(Path.Combine(Golden.Folder, "family")).Where(folder => RuleOf(folder) is { } rule &&
            StrategyRegistry.Default.Find(rule) is not null).Select(folder => Path.GetFileName(folder)!).Order(StringComparer.Ordinal);

    [Test]
    public void ThereAreCases()
    {
        if (Golden.Folder is null)
            Assert.Ignore("the golden rounds (shared/golden beside the checkout) are not here");
        Assert.That(Cases.Count(), Is.GreaterThanOrEqualTo(11));
    }

    [TestCaseSource(nameof(Cases))]
    public void TheRuleMatches(string name)
    {
        byte[]? first = null;
        foreach (IComputeBackend backend in (IComputeBackend[])[new ReferenceBackend(), new SimdBackend()])
        {
            foreach (int threads in (int[])[1, 2, 7])
            {
                using var given = new MemorySink();
                Run(name, new RoundOptions { Backend = backend, Threads = threads }, given);
                // the reference may differ by a unit in the last place where sums are involved, threads may not
                if (backend is ReferenceBackend || threads == 1)
                    first = Models.AllBytes(given.Model);
                Assert.That(Models.AllBytes(given.Model), Is.EqualTo(first), $"{backend.Name}, {threads} threads");
                using var wide = new MemorySink();
                Run(name, new RoundOptions { Backend = backend, Threads = threads, OutputDType = DType.F64 }, wide);
            }
        }
    }

    private static void Run(string name, RoundOptions options, MemorySink sink)
    {
        string folder = Golden.RoundFolder(Path.Combine("family", name));
        using JsonDocument expected = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(folder, "expected.json")));
        JsonElement root = expected.RootElement;
        string inputs = Path.Combine(Golden.RoundFolder("family"), root.GetProperty("round").GetString()!);
        using TensorSource global = TensorSource.Open(Place(inputs, "global"));
        ConfiguredRound configured = StrategyRegistry.Default.Create(
            root.GetProperty("rule").GetString()!,
            root.GetProperty("options").EnumerateObject()
                .Select(option => new KeyValuePair<string, string>(option.Name, option.Value.ToString())),
            options);
        using var place = new TempFolder();
        string state = place["state.safetensors"];
        bool hasState = File.Exists(Path.Combine(folder, "expected-state.safetensors"));
        if (File.Exists(Path.Combine(folder, "state-in.safetensors")))
            WriteState(Path.Combine(folder, "state-in.safetensors"), state, ModelDigest.Compute(global));
        var round = new AggregationRound(global, configured.Options) { State = hasState ? RoundState.InFile(state) : null };
        int[] clients = [.. Clients(root, inputs)];
        foreach (int client in Shuffle(clients))
            round.Add(ClientUpdate.FromFile($"{Array.IndexOf(clients, client)}", Place(inputs, $"client-{client}")));
        RoundReport report = configured.Aggregator.AggregateAsync(round, sink).GetAwaiter().GetResult().Report;
        using TensorSource truth = TensorSource.Open(Path.Combine(folder, "expected.safetensors"));
        Golden.Compare(sink.Model, truth);
        if (hasState)
        {
            using TensorSource found = TensorSource.Open(state);
            using TensorSource stateTruth = TensorSource.Open(Path.Combine(folder, "expected-state.safetensors"));
            Golden.Compare(found, stateTruth);
            Assert.That(found.Metadata[MetadataKeys.State], Is.EqualTo(configured.Aggregator.Name));
            Assert.That(found.Metadata["rounds"], Is.EqualTo($"{root.GetProperty("rounds-finished").GetInt64() + 1}"));
            Assert.That(found.Metadata[MetadataKeys.Base], Is.EqualTo(ModelDigest.Compute(sink.Model)));
        }

        CheckReport(root, report);
    }

    private static void CheckReport(JsonElement root, RoundReport report)
    {
        if (!root.TryGetProperty("expected", out JsonElement expected))
            return;
        if (expected.TryGetProperty("scores", out JsonElement scores))
        {
            double[] values = [.. scores.EnumerateArray().Select(score => score.GetDouble())];
            StageReport found = report.Stages.Single(stage => stage.Name == "score");
            for (int k = 0; k < values.Length; k++)
                Assert.That(found.Values[k], Is.EqualTo(values[k]).Within(1e-12 * Math.Abs(values[k])));
        }

        if (expected.TryGetProperty("chosen", out JsonElement chosen))
        {
            Assert.That(report.Clients.Where(client => client.Chosen).Select(client => client.Id),
                Is.EqualTo(chosen.EnumerateArray().Select(client => client.ToString()).Order(StringComparer.Ordinal)));
        }
    }

    private static IEnumerable<int> Clients(JsonElement root, string inputs) => root.TryGetProperty("clients", out JsonElement some)
        ? some.EnumerateArray().Select(client => client.GetInt32())
        : Enumerable.Range(0, Directory.GetFileSystemEntries(inputs, "client-*").Length);

    /// <summary>A model is a file, or an adapter's folder.</summary>
    private static string Place(string inputs, string name) =>
        Directory.Exists(Path.Combine(inputs, name)) ? Path.Combine(inputs, name) : Path.Combine(inputs, name + ".safetensors");

    private static int[] Shuffle(int[] clients)
    {
        int[] shuffled = [.. clients];
        new Random(7).Shuffle(shuffled);
        return shuffled;
    }

    /// <summary>A golden state states no base; a real one does.</summary>
    private static void WriteState(string from, string to, string digest)
    {
        using TensorSource state = TensorSource.Open(from);
        TensorSink sink = TensorSink.ToFile(to);
        sink.Begin(state.Tensors, new Dictionary<string, string>(state.Metadata) { [MetadataKeys.Base] = digest });
        foreach (TensorInfo tensor in state.Tensors)
            sink.Write(tensor, 0, Models.Bytes(state, tensor.Name));
        sink.Commit();
    }

    private static string? RuleOf(string folder)
    {
        string file = Path.Combine(folder, "expected.json");
        if (!File.Exists(file))
            return null;
        using JsonDocument expected = JsonDocument.Parse(File.ReadAllBytes(file));
        return expected.RootElement.TryGetProperty("rule", out JsonElement rule) ? rule.GetString() : null;
    }
}
