using FedICU.Compute;
using FedICU.Tests.Compute;

namespace FedICU.Cli.Tests;

/// <summary>Tests the commands that write no files: explain, inspect, diff, verify.</summary>
public sealed class ViewTests
{
    private Place _place = null!;

    [SetUp]
    public void SetUp() => _place = new Place();

    [TearDown]
    public void TearDown() => _place.Dispose();

    [Test]
    public void ExplainShowsEachClientsInfluence()
    {
        string[] before = _place.Names();
        Run run = Tool.Run(
            "explain", "--global", _place.Global, "--client", "a=" + _place.A, "--client", "b=" + _place.B, "--client", "c=" + _place.C,
            "--weights", "1,1,2").Succeeded();
        Assert.That(_place.Names(), Is.EqualTo(before));
        Assert.That(run.Lines, Has.Some.StartsWith("layer.weight  F32 [3, 2]  fedicu"));
        string[] cells = run.Cells("a  ");
        Assert.That(cells, Has.Length.GreaterThanOrEqualTo(7));
        Assert.That(run.Output, Does.Contain("w_k").And.Contain("s_k").And.Contain("cosine").And.Contain("leads"));
        // c's update points away from the others'
        Assert.That(run.Output, Does.Contain("against"));
    }

    [Test]
    public void WeightsThatDifferOnlyByRoundingHaveNoLeader()
    {
        // two clients have the same pairwise similarity
        Run run = Tool.Run("explain", "--global", _place.Global, "--client", "a=" + _place.A, "--client", "b=" + _place.B).Succeeded();
        IEnumerable<string[]> rows = run.Lines.SkipWhile(line => !line.StartsWith("client  leads", StringComparison.Ordinal)).Skip(1)
            .Select(line => line.Split(' ', StringSplitOptions.RemoveEmptyEntries));
        Assert.That(
            rows, Has.All.Matches<string[]>(cells => cells[1] == "0" && cells[3] == "2"), "no client leads in a float tensor");
    }

    [Test]
    public void ExplainShowsTheCrossTermsOfAdapters()
    {
        Run run = Tool.Run(
            "explain", "--global", _place.WriteAdapter("base", 1), "--client", _place.WriteAdapter("first", 2),
            "--client", _place.WriteAdapter("second", 3), "--strategy", "fedavg").Succeeded();
        Assert.That(double.Parse(run.Cells("base.q_proj  ")[1]), Is.GreaterThan(0));
    }

    [Test]
    public void InspectShowsTensorsMetadataAndDigest()
    {
        string model = _place.Write("m.safetensors", Place.Like(("num_examples", "12"), ("round", "3")));
        Run run = Tool.Run("inspect", model).Succeeded();
        Assert.That(run.Cells(Place.Weight), Is.EqualTo(new[] { "layer.weight", "F32", "[3, 2]", "6", "24" }));
        Assert.That(run.Output, Does.Contain("metadata num_examples: 12").And.Contain("metadata round: 3"));
        Assert.That(run.Output, Does.Contain("3 tensors, 9 elements, 40 bytes"));
        using TensorSource source = TensorSource.Open(model);
        Assert.That(run.Output, Does.Contain("digest " + ModelDigest.Compute(source)));
    }

    [Test]
    public void InspectShowsStatistics()
    {
        string model = _place.Write("m.safetensors", Place.Model([3, -4, 0, 0, 0, float.NaN], [1, 2], 7));
        Run run = Tool.Run("inspect", model, "--stats").Succeeded();
        Assert.That(run.Cells(Place.Weight), Is.EqualTo(new[] { "layer.weight", "F32", "[3, 2]", "6", "5", "-0.200000", "-4", "3", "1" }));
        Assert.That(run.Cells(Place.Steps), Is.EqualTo(new[] { "steps", "I64", "[]", "1", "7", "7", "7", "7", "0" }));
        Assert.That(run.Output, Does.Contain("1 value is NaN or infinite"));
    }

    [Test]
    public void InspectDoesNotMeasureMasks()
    {
        string update = _place["update.safetensors"];
        Tool.Run("mask", "--global", _place.Global, "--local", _place.A, "--mask", "top=0.1", "--output", update).Succeeded();
        Run run = Tool.Run("inspect", update, "--stats").Succeeded();
        Assert.That(run.Cells("layer.weight#mask"), Is.EqualTo(new[] { "layer.weight#mask", "U8", "[1]", "1", "-", "-", "-", "-", "-" }));
        Assert.That(run.Cells("layer.weight#values")[5], Is.Not.EqualTo("-"));
    }

    [Test]
    public void InspectDescribesAdapters()
    {
        Run run = Tool.Run("inspect", _place.WriteAdapter("adapter", 1)).Succeeded();
        Assert.That(run.Output, Does.Contain("LORA adapter, r 2, lora_alpha 16").And.Contain("q_proj").And.Contain("tiny"));
    }

    [Test]
    public void DiffMeasuresTheDifferences()
    {
        Run run = Tool.Run("diff", _place.Global, _place.A).Succeeded();
        Assert.That(run.Cells(Place.Weight), Is.EqualTo(new[] { "layer.weight", "F32", "6", "3", "1", "0.500000" }));
        Assert.That(run.Cells(Place.Steps), Is.EqualTo(new[] { "steps", "I64", "1", "1", "2", "0.166667" }));
        Assert.That(run.Output, Does.Contain("differ in 3 of 3 tensors").And.Contain("A sha256:").And.Contain("B sha256:"));
    }

    [Test]
    public void DiffCountsValuesThatAreNotFinite()
    {
        string other = _place.Write("m.safetensors", Place.Model([3, float.NaN, 0, float.PositiveInfinity, 0, 1], [1, 2], 7));
        Run run = Tool.Run("diff", _place.A, other).Succeeded();
        Assert.That(run.Cells(Place.Weight)[4..], Is.EqualTo(new[] { "Infinity", "Infinity" }));
        Assert.That(run.Lines, Has.One.EqualTo(
            "layer.weight: 0 values in A and 2 in B are NaN or infinite, so the largest difference is infinite"));
        Assert.That(Tool.Run("diff", other, other).Succeeded().Output, Does.Not.Contain("NaN or infinite"));
    }

    [Test]
    public void DiffRecognizesEqualModels()
    {
        Assert.That(Tool.Run("diff", _place.A, _place.A).Succeeded().Output, Does.Contain("the models are identical"));
        string wide = _place["wide.safetensors"];
        Tool.Run([.. _place.RoundLine([_place.A], wide, strategy: "fedavg"), "--dtype", "f64"]).Succeeded();
        Run run = Tool.Run("diff", _place.A, wide).Succeeded();
        Assert.That(run.Output, Does.Contain("same values").And.Contain("F32 and F64"));
    }

    [TestCase("simd")]
    [TestCase("auto")]
    public void VerifyPasses(string backend)
    {
        Run run = Tool.Run("verify", "--backend", backend).Succeeded();
        Assert.That(run.Lines.Count(line => line.EndsWith("pass", StringComparison.Ordinal)), Is.EqualTo(14 * 4 + 1));
        Assert.That(run.Output, Does.Contain("backend simd: pass").And.Not.Contain("FAIL"));
    }

    [Test]
    public void VerifyNamesTheFailingVerb()
    {
        using StringWriter output = new(), error = new();
        var terminal = new Terminal(output, error);
        Assert.That(VerifyCommand.Verify([new FaultyBackend("AddSquares")], terminal, CancellationToken.None), Is.False);
        IEnumerable<string> failures = output.ToString().Split('\n')
            .Where(line => line.TrimEnd().EndsWith("FAIL", StringComparison.Ordinal));
        Assert.That(failures, Has.Exactly(4).Contains("AddSquares").And.Exactly(1).Contains("backend faulty"));
    }
}
