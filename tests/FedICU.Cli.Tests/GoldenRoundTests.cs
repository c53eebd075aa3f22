using System.Text.Json;

namespace FedICU.Cli.Tests;

/// <summary>Runs the golden rounds with the command line.</summary>
[TestFixtureSource(typeof(Golden), nameof(Golden.Rounds))]
public sealed class GoldenRoundTests(string round)
{
    private Place _place = null!;

    [SetUp]
    public void SetUp() => _place = new Place();

    [TearDown]
    public void TearDown() => _place.Dispose();

    [Test]
    public void AggregateMatchesTheGoldenRound(
        [Values("fedavg", "fedprox", "fedicu")] string strategy, [Values(null, "f64")] string? dtype,
        [Values("simd", "reference")] string backend)
    {
        string output = _place["out.safetensors"];
        Tool.Run([
            "aggregate", "--strategy", strategy, "--global", Golden.Path(round, "global.safetensors"), .. Golden.Clients(round),
            "--output", output, "--backend", backend, .. dtype is null ? Array.Empty<string>() : ["--dtype", dtype]]).Succeeded();
        string expected = strategy == "fedicu" ? "expected-fedicu.safetensors" : "expected-fedavg.safetensors";
        Golden.AssertAgrees(output, Golden.Path(round, expected));
    }

    [Test]
    public void TheReportContainsTheExpectedWeights()
    {
        string report = _place["report.json"];
        Tool.Run([
            "aggregate", "--strategy", "fedicu", "--global", Golden.Path(round, "global.safetensors"), .. Golden.Clients(round),
            "--output", _place["out.safetensors"], "--report", report]).Succeeded();
        var read = RoundReport.FromJson(File.ReadAllText(report));
        foreach (JsonProperty tensor in Golden.Expected(round).GetProperty("fedicu_weights").EnumerateObject())
        {
            double[] expected = [.. tensor.Value.EnumerateArray().Select(weight => weight.GetDouble())];
            IEnumerable<double?> actual =
                read.Tensors.Single(candidate => candidate.Name == tensor.Name).Clients.Select(client => client.Weight);
            Assert.That(actual, Is.EqualTo(expected).Within(1e-13), tensor.Name);
        }
    }

    [TestCase("hard", "expected-masked-client-0.safetensors")]
    [TestCase("soft", "expected-softmasked-client-0.safetensors")]
    public void MaskMatchesTheGoldenRound(string mask, string expected)
    {
        string dense = _place["dense.safetensors"], sparse = _place["sparse.safetensors"];
        string[] line = [.. MaskLine(), "--mask", mask, "--output"];
        Tool.Run([.. line, dense, "--dense"]).Succeeded();
        Golden.AssertAgrees(dense, Golden.Path(round, expected), exactly: mask == "hard");
        Tool.Run([.. line, sparse]).Succeeded();
        AssertUnpacksTo(sparse, dense);
    }

    [Test]
    public void MaskWithMomentumMatchesTheGoldenRound()
    {
        string dense = _place["dense.safetensors"], sparse = _place["sparse.safetensors"];
        string momentum = _place["momentum.safetensors"], again = _place["again.safetensors"];
        string[] line = [.. MaskLine(), "--momentum", Golden.Path(round, "momentum-in.safetensors")];
        Tool.Run([.. line, "--momentum-out", momentum, "--output", dense, "--dense"]).Succeeded();
        Golden.AssertAgrees(dense, Golden.Path(round, "expected-masked-client-0-with-momentum.safetensors"), exactly: true);
        Golden.AssertAgrees(momentum, Golden.Path(round, "expected-momentum-out.safetensors"));
        Tool.Run([.. line, "--momentum-out", again, "--output", sparse]).Succeeded();
        AssertUnpacksTo(sparse, dense);
        Assert.That(File.ReadAllBytes(again), Is.EqualTo(File.ReadAllBytes(momentum)));
    }

    [Test]
    public void MaskPrintsTheShareSent()
    {
        Run run = Tool.Run([.. MaskLine(), "--output", _place["sparse.safetensors"]]).Succeeded();
        foreach (JsonProperty tensor in Golden.Expected(round).GetProperty("masked_share_client_0").EnumerateObject())
        {
            string[] cells = run.Cells(tensor.Name);
            Assert.That(double.Parse(cells[2]) / double.Parse(cells[1]), Is.EqualTo(tensor.Value.GetDouble()).Within(1e-12), tensor.Name);
        }
    }

    private string[] MaskLine() =>
        ["mask", "--global", Golden.Path(round, "global.safetensors"), "--local", Golden.Path(round, "client-0.safetensors")];

    /// <summary>
    /// Asserts that a packed update equals a dense one. The mean of one client is that client's unpacked update.
    /// </summary>
    private void AssertUnpacksTo(string sparse, string dense)
    {
        string unpacked = _place["unpacked.safetensors"];
        Tool.Run(
            "aggregate", "--strategy", "fedavg", "--global", Golden.Path(round, "global.safetensors"), "--client", sparse, "--weights", "1",
            "--output", unpacked).Succeeded();
        Assert.That(Place.Digest(unpacked), Is.EqualTo(Place.Digest(dense)));
    }
}
