namespace FedICU.Cli.Tests;

/// <summary>The command <c>report</c>: its inputs, its output and its refusals.</summary>
public sealed class ReportCommandTests
{
    private Place _place = null!;

    [SetUp]
    public void Prepare()
    {
        _place = new Place();
        foreach (string round in (string[])["2", "10"])
        {
            Directory.CreateDirectory(_place[$"rounds/round-{round}"]);
            Tool.Run(
            [
                .. _place.RoundLine([_place.A, _place.B, _place.C]), "--round", round, "--report",
                _place[$"rounds/round-{round}/report.json"],
            ]).Succeeded();
        }
    }

    [TearDown]
    public void Remove() => _place.Dispose();

    [Test]
    public void AFolderOfRoundsIsReadInTheOrderOfItsNumbers()
    {
        Run run = Tool.Run("report", _place["rounds"], "--output", _place["report.html"]).Succeeded();
        Assert.That(run.Output, Does.Contain("report.html: 2 rounds, "));
        string html = File.ReadAllText(_place["report.html"]);
        Assert.That(html, Does.Contain("<title>Rounds 2 to 10 of fedicu</title>").And.EndWith("</html>\n"));
        Assert.That(html.IndexOf("\"label\":\"2\"", StringComparison.Ordinal),
            Is.LessThan(html.IndexOf("\"label\":\"10\"", StringComparison.Ordinal)));
    }

    [Test]
    public void AFileAndAFolderWithAReportAreReadAndAPageIsReplaced()
    {
        Tool.Run("report", _place["rounds/round-2"], "--output", _place["report.html"]).Succeeded();
        Assert.That(File.ReadAllText(_place["report.html"]), Does.Contain("<title>Round 2 of fedicu</title>"));
        Tool.Run(
            "report", _place["rounds/round-10/report.json"], "--output", _place["report.html"], "--title", "A <title>").Succeeded();
        Assert.That(File.ReadAllText(_place["report.html"]), Does.Contain("<title>A &lt;title&gt;</title>"));
    }

    [Test]
    public void WhatIsNoReportAndWhatWouldBeLostIsRefused()
    {
        string report = _place["rounds/round-2/report.json"], output = _place["report.html"];
        _place.AssertRefused(["report", report, "--output", _place.Global], "--output", "global.safetensors", "exists and is no HTML page");
        _place.AssertRefused(["report", report, "--output", report], "--output", "is the report", "itself");
        _place.AssertRefused(["report", _place.Global, "--output", output], "global.safetensors", "The text is not a report", "byte");
        _place.AssertRefused(["report", _place["missing.json"], "--output", output], "missing.json", "cannot be read");
        _place.AssertRefused(["report", report, "--output", _place["missing/report.html"]], "--output", "cannot be written");
        Directory.CreateDirectory(_place["empty"]);
        _place.AssertRefused(["report", _place["empty"], "--output", output], "REPORT", "a folder without a report.json");
        File.WriteAllText(_place["later.json"], "{\"format\": 2}");
        _place.AssertRefused(["report", _place["later.json"], "--output", output], "later.json", "format 2");
    }
}
