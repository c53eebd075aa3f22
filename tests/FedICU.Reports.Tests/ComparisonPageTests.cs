using FedICU.Tests.Files;

namespace FedICU.Reports.Tests;

/// <summary>The page of a comparison: its bars, sweeps and table, also with hostile names and numbers.</summary>
[CancelAfter(120_000)]
internal sealed class ComparisonPageTests
{
    private const string Hostile = "</script><img src=x onerror=\"document.title='broken'\">";

    private TempFolder _folder = null!;

    [SetUp]
    public void Prepare() => _folder = new TempFolder();

    [TearDown]
    public void Remove() => _folder.Dispose();

    private string Write(params ComparedRun[] runs)
    {
        string path = _folder["comparison.html"];
        using FileStream file = File.Create(path);
        new ComparisonPage("A comparison", runs) { Metric = "accuracy", Best = "fedicu tau=0.5" }.Write(file);
        return path;
    }

    private static ComparedRun Swept(string tau, double accuracy) => new($"fedicu tau={tau}")
    {
        Strategy = "fedicu",
        Options = [new("tau", tau)],
        Metrics = new Dictionary<string, double>
        {
            ["accuracy"] = accuracy,
            ["loss"] = double.NaN,
            ["__proto__"] = double.PositiveInfinity,
        },
        Seconds = 0.5,
        PeakMemoryBytes = 1 << 26,
    };

    [Test]
    public async Task RunsSweepsAndFailuresAreShown()
    {
        string path = Write(
            new ComparedRun("global") { Metrics = new Dictionary<string, double> { ["accuracy"] = 0.5 } },
            Swept("0.1", 0.7), Swept("0.5", 0.9), Swept("inf", 0.8), new ComparedRun(Hostile) { Strategy = "krum", Failure = Hostile });
        Assert.That(File.ReadAllText(path), Does.Not.Contain("<img src=x"));
        using Browser browser = await Browser.StartAsync();
        await browser.OpenAsync(path);
        Assert.That(browser.Console, Is.Empty);
        Assert.That(await browser.EvaluateAsync<string>("document.title"), Is.EqualTo("A comparison"));
        Assert.That(
            await browser.EvaluateAsync<string>(
                "[...document.querySelectorAll('[role=img]')].map(chart => chart.getAttribute('aria-label')).join('; ')"),
            Is.EqualTo("accuracy of each run; accuracy over tau; Seconds of each round; Peak memory of each round"));
        string table = await browser.EvaluateAsync<string>("document.querySelector('main section:last-child tbody').textContent");
        Assert.That(table, Does.Contain("NaN").And.Contain("Infinity").And.Contain("best").And.Contain("failed: </script>"));
        Assert.That(browser.Requests, Is.Empty);
    }

    [Test]
    public async Task WithoutRunsAndMetricsThePageIsStillThere()
    {
        using Browser browser = await Browser.StartAsync();
        await browser.OpenAsync(Write());
        await browser.OpenAsync(Write(new ComparedRun("fedavg") { Strategy = "fedavg" }));
        Assert.That(browser.Console, Is.Empty);
        Assert.That(await browser.EvaluateAsync<int>("document.querySelectorAll('table').length"), Is.EqualTo(1));
    }
}
