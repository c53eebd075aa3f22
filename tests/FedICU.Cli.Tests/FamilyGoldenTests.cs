using System.Globalization;
using FedICU.Tests;

namespace FedICU.Cli.Tests;

/// <summary>Runs the golden rounds of fedadam, median and krum (shared/golden/family) with the command line.</summary>
public sealed class FamilyGoldenTests
{
    private static readonly string[] Rules = ["fedadam", "krum", "median"];

    private static IEnumerable<string> Cases => Golden.Folder is null
        ? []
        : FamilyCase.List(Path.Combine(Golden.Folder, "family"), Rules.Contains);

    private Place _place = null!;

    [SetUp]
    public void SetUp() => _place = new Place();

    [TearDown]
    public void TearDown() => _place.Dispose();

    [Test]
    public void ThereAreCases()
    {
        if (Golden.Folder is null)
            Assert.Ignore("the golden rounds (shared/golden beside the checkout) are not here");
        // the three rules in float32 and bf16, the ties, and the variants of fedadam and median
        Assert.That(Cases.Count(), Is.GreaterThanOrEqualTo(13));
    }

    [Test]
    public void AggregateMatches([ValueSource(nameof(Cases))] string name, [Values(null, "f64")] string? dtype)
    {
        var golden = new FamilyCase(Path.Combine(Golden.Folder!, "family", name));
        string output = _place["out.safetensors"], report = _place["report.json"], state = _place["state.safetensors"];
        golden.WriteState(state);
        Tool.Run([
            "aggregate", "--strategy", golden.Rule, "--global", golden.Global, "--output", output, "--report", report,
            .. golden.Clients.SelectMany((path, number) => new[] { "--client", $"{number}={path}" }),
            .. golden.Options.SelectMany(option => new[] { "--set", $"{option.Key}={option.Value}" }),
            .. golden.StateResult is null ? Array.Empty<string>() : ["--state", state],
            .. dtype is null ? Array.Empty<string>() : ["--dtype", dtype]]).Succeeded();
        Golden.AssertAgrees(output, golden.Result);
        AssertReport(RoundReport.FromJson(File.ReadAllText(report)), golden);
        if (golden.StateResult is null)
            return;
        Golden.AssertAgrees(state, golden.StateResult);
        using TensorSource written = TensorSource.Open(state);
        string rounds = (golden.RoundsFinished + 1).ToString(CultureInfo.InvariantCulture);
        Assert.That(
            (written.Metadata["fedicu.state"], written.Metadata["rounds"], written.Metadata["fedicu.base"]),
            Is.EqualTo((golden.Rule, rounds, Place.Digest(output))));
    }

    private static void AssertReport(RoundReport report, FamilyCase golden)
    {
        if (golden.Scores is { } scores)
        {
            StageReport stage = report.Stages.Single(stage => stage.Name == "score");
            Assert.That(stage.Values, Is.EqualTo(scores).Within(1e-10).Percent);
        }

        if (golden.Chosen is { } chosen)
            Assert.That(report.Clients.Where(client => client.Chosen).Select(client => client.Id), Is.EqualTo(chosen));
    }
}
