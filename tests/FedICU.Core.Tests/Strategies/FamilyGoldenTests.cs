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
        : FamilyCase.List(Path.Combine(Golden.Folder, "family"), rule => StrategyRegistry.Default.Find(rule) is not null);

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
        var golden = new FamilyCase(Golden.RoundFolder(Path.Combine("family", name)));
        using TensorSource global = TensorSource.Open(golden.Global);
        ConfiguredRound configured = StrategyRegistry.Default.Create(golden.Rule, golden.Options, options);
        using var place = new TempFolder();
        string state = place["state.safetensors"];
        golden.WriteState(state);
        var round = new AggregationRound(global, configured.Options)
        {
            State = golden.StateResult is null ? null : RoundState.InFile(state),
        };
        string[] clients = golden.Clients;
        foreach (int client in Shuffle(clients.Length))
            round.Add(ClientUpdate.FromFile($"{client}", clients[client], statements: golden.GetStatements(client)));
        RoundReport report = configured.Aggregator.AggregateAsync(round, sink).GetAwaiter().GetResult().Report;
        using TensorSource truth = TensorSource.Open(golden.Result);
        Golden.Compare(sink.Model, truth, golden.FactorTolerance);
        if (golden.StateResult is { } stateResult)
        {
            using TensorSource found = TensorSource.Open(state), stateTruth = TensorSource.Open(stateResult);
            Golden.Compare(found, stateTruth);
            Assert.That(found.Metadata[MetadataKeys.State], Is.EqualTo(configured.Aggregator.Name));
            Assert.That(found.Metadata["rounds"], Is.EqualTo($"{golden.RoundsFinished + 1}"));
            Assert.That(found.Metadata[MetadataKeys.Base], Is.EqualTo(ModelDigest.Compute(sink.Model)));
        }

        if (golden.Scores is { } scores)
        {
            StageReport found = report.Stages.Single(stage => stage.Name == "score");
            for (int k = 0; k < scores.Length; k++)
                Assert.That(found.Values[k], Is.EqualTo(scores[k]).Within(1e-12 * Math.Abs(scores[k])));
        }

        foreach ((string module, double error) in golden.GetPairNumbers("error"))
        {
            LoraPairReport pair = report.LoraPairs.Single(pair => pair.Name == module);
            // 1e-12 of the largest singular value, which is below 10
            Assert.That(pair.Error, Is.EqualTo(error).Within(1e-11), module);
            Assert.That(pair.RelativeError, Is.EqualTo(golden.GetPairNumbers("relative_error")[module]).Within(1e-12), module);
            Assert.That(pair.Scaling, Is.EqualTo(golden.GetPairNumbers("scaling")[module]).Within(1e-15), module);
        }

        if (golden.Chosen is { } chosen)
            Assert.That(report.Clients.Where(client => client.Chosen).Select(client => client.Id), Is.EqualTo(chosen));
    }

    private static int[] Shuffle(int clients)
    {
        int[] shuffled = [.. Enumerable.Range(0, clients)];
        new Random(7).Shuffle(shuffled);
        return shuffled;
    }
}
