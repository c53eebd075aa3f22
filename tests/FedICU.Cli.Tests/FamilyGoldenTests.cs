using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using FedICU.Tests;

namespace FedICU.Cli.Tests;

/// <summary>Runs the golden rounds of every registered rule (shared/golden/family) with the command line.</summary>
public sealed class FamilyGoldenTests
{
    private static IEnumerable<string> Cases => Golden.Folder is null
        ? []
        : FamilyCase.List(Path.Combine(Golden.Folder, "family"), rule => StrategyRegistry.Default.Find(rule) is not null);

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
        Assert.That(Cases.Count(), Is.GreaterThanOrEqualTo(53));
    }

    [Test]
    public void AggregateMatches([ValueSource(nameof(Cases))] string name, [Values(null, "f64")] string? dtype)
    {
        var golden = new FamilyCase(Path.Combine(Golden.Folder!, "family", name));
        string output = _place["out.safetensors"], report = _place["report.json"], state = _place["state.safetensors"];
        golden.WriteState(state);
        Tool.Run([
            "aggregate", "--strategy", golden.Rule, "--global", golden.Global, "--output", output, "--report", report,
            .. Clients(golden),
            .. golden.Options.SelectMany(option => new[] { "--set", $"{option.Key}={option.Value}" }),
            .. golden.StateResult is null ? Array.Empty<string>() : ["--state", state],
            .. dtype is null ? Array.Empty<string>() : ["--dtype", dtype]]).Succeeded();
        Golden.AssertAgrees(output, golden.Result, share: golden.FactorTolerance);
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

    /// <summary>Gives the clients one by one, or in a file where they state something.</summary>
    private string[] Clients(FamilyCase golden)
    {
        ClientStatements[] statements = [.. golden.Clients.Select((_, place) => golden.GetStatements(place))];
        if (statements.All(stated => stated == new ClientStatements()))
            return [.. golden.Clients.SelectMany((path, number) => new[] { "--client", $"{number}={path}" })];
        var clients = new JsonArray();
        foreach ((int number, string path) in golden.Clients.Index())
        {
            var client = new JsonObject { ["id"] = $"{number}", ["path"] = path };
            ClientStatements stated = statements[number];
            Add("local_steps", stated.LocalSteps);
            Add("loss", stated.Loss);
            Add("staleness", stated.Staleness);
            if (stated.Control is { } control)
                client["control"] = control;
            clients.Add(client);

            void Add(string key, double? value)
            {
                if (value is { } number)
                    client[key] = number;
            }
        }

        string file = _place["clients.json"];
        File.WriteAllText(file, new JsonObject { ["clients"] = clients }.ToJsonString(new JsonSerializerOptions()));
        return ["--clients", file];
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
