using FedICU.Tests.Files;

namespace FedICU.Reports.Tests;

/// <summary>Runs the example of the package's README. SnippetTests compares the texts.</summary>
[NonParallelizable]
internal sealed class ReadmeSnippets
{
    [Test]
    public void TheExampleRuns()
    {
        using var folder = new TempFolder();
        string here = Environment.CurrentDirectory;
        Environment.CurrentDirectory = folder.FullName;
        try
        {
            for (int round = 1; round <= 2; round++)
                File.WriteAllText($"round-{round}.json", SampleReports.Round(4, 4, round).ToJson());
            Run();
            Assert.That(File.ReadAllText("report.html"), Does.Contain("<title>Ten clinics</title>"));
        }
        finally
        {
            Environment.CurrentDirectory = here;
        }
    }

    private static void Run()
    {
        #region report-page
        string[] paths = ["round-1.json", "round-2.json"];
        RoundReport[] reports = [.. paths.Select(path => RoundReport.FromJson(File.ReadAllText(path)))];
        using FileStream page = File.Create("report.html");
        ReportPage.Write(reports, page, title: "Ten clinics");
        #endregion
    }
}
