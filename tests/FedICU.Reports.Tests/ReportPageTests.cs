using FedICU.Tests.Files;

namespace FedICU.Reports.Tests;

/// <summary>The page of reports in headless Chromium.</summary>
[CancelAfter(180_000)]
internal sealed class ReportPageTests
{
    // where a person can look at the pictures of these tests; they are not kept if it is not set
    private static readonly string? Pictures = Environment.GetEnvironmentVariable("FEDICU_PICTURES");

    private TempFolder _folder = null!;

    [SetUp]
    public void Prepare() => _folder = new TempFolder();

    [TearDown]
    public void Remove() => _folder.Dispose();

    private string Write(params RoundReport[] reports)
    {
        string path = _folder["report.html"];
        using FileStream file = File.Create(path);
        ReportPage.Write(reports, file);
        return path;
    }

    private static Task<string[]> TitlesAsync(Browser browser) => browser
        .EvaluateAsync<string>("[...document.querySelectorAll('h2')].map(title => title.textContent).join('|')")
        .ContinueWith(text => text.Result.Split('|'), TaskScheduler.Default);

    [TestCase(10, 56, "light", 1280), TestCase(10, 56, "dark", 600), TestCase(500, 448, "dark", 1280), TestCase(500, 448, "light", 600)]
    public async Task ThePageLoadsWithoutErrorsAndRequests(int clients, int tensors, string theme, int width)
    {
        string path = Write(SampleReports.Round(clients, tensors));
        using Browser browser = await Browser.StartAsync(width);
        await browser.SetSystemThemeAsync(theme);
        TimeSpan time = await browser.OpenAsync(path);
        TestContext.Out.WriteLine($"{clients} x {tensors}: {time.TotalSeconds:F1} s, {new FileInfo(path).Length >> 10} KiB");
        Assert.Multiple(() =>
        {
            Assert.That(browser.Console, Is.Empty);
            Assert.That(browser.Requests, Is.Empty);
        });
        Assert.That(await TitlesAsync(browser), Is.EqualTo((string[])
            ["Notes", "Left out", "Clients", "Clients by tensors", "Who pulls where", "LoRA errors", "krum: score"]));
        Assert.That(
            await browser.EvaluateAsync<bool>("document.documentElement.scrollWidth <= innerWidth"), Is.True,
            "nothing is wider than the window");
        Assert.That(
            await browser.EvaluateAsync<int>("document.querySelectorAll('.chart:not([aria-label]), th:not([scope])').length"), Is.Zero);
        if (Pictures is not null)
            File.WriteAllBytes(Path.Combine(Pictures, $"report-{clients}-{theme}-{width}.png"), await browser.ScreenshotAsync());
    }

    [Test]
    public async Task EveryMeasureAndOrderAndTableIsShown()
    {
        using Browser browser = await Browser.StartAsync();
        await browser.OpenAsync(Write(SampleReports.Round(10, 56)));
        await browser.EvaluateAsync<bool>("""
            (() => {
              for (const select of document.querySelectorAll("select"))
                for (const option of select.options) { select.value = option.value; select.dispatchEvent(new Event("change")); }
              document.querySelectorAll("button[aria-expanded]").forEach(button => button.click());
              return true;
            })()
            """);
        Assert.That(browser.Console, Is.Empty);
        Assert.That(await browser.EvaluateAsync<int>("document.querySelectorAll('table').length"), Is.GreaterThanOrEqualTo(6));
        Assert.That(await browser.EvaluateAsync<string>("document.querySelector('.chart').getAttribute('aria-label')"),
            Does.StartWith("Heat map: Weight, 9 clients by 56 tensors, from "));
    }

    [Test]
    public async Task SeveralRoundsHaveATableNormsAndASelection()
    {
        using Browser browser = await Browser.StartAsync();
        await browser.OpenAsync(Write([.. Enumerable.Range(1, 5).Select(round => SampleReports.Round(10, 28, round, round))]));
        Assert.That(browser.Console, Is.Empty);
        Assert.That((await TitlesAsync(browser))[0], Is.EqualTo("Rounds"));
        Assert.That(await browser.EvaluateAsync<int>("document.querySelectorAll('.selected-round option').length"), Is.EqualTo(5));
        if (Pictures is not null)
            File.WriteAllBytes(Path.Combine(Pictures, "report-rounds.png"), await browser.ScreenshotAsync());
    }

    [Test]
    public async Task HostileNamesAreText()
    {
        const string Hostile = "</script><img src=x onerror=\"document.title='broken'\">";
        RoundReport report = SampleReports.Round(4, 4);
        string[] names = [Hostile, "hospital-001", "\u202eevil\u0007", new string('x', 10_000)];
        var renamed = report.Clients.Select((client, k) => (client.Id, Name: names[k])).ToDictionary(pair => pair.Id, pair => pair.Name);
        report = report with
        {
            Strategy = Hostile,
            Clients = [.. report.Clients.Select(client => client with { Id = renamed[client.Id] })],
            Tensors =
            [
                .. report.Tensors.Select((tensor, t) => tensor with
                {
                    Name = t == 0 ? Hostile : tensor.Name, Rule = Hostile,
                    Clients = [.. tensor.Clients.Select(part => part with { Id = renamed[part.Id] })],
                }),
            ],
            Stages = [],
            Notes = [Hostile],
        };
        using Browser browser = await Browser.StartAsync();
        await browser.OpenAsync(Write(report));
        Assert.That(browser.Console, Is.Empty);
        Assert.That(await browser.EvaluateAsync<string>("document.title"), Does.StartWith("Round 1 of </script><img"));
        Assert.That(await browser.EvaluateAsync<int>("document.querySelectorAll('img').length"), Is.Zero);
        string text = await browser.EvaluateAsync<string>("document.body.innerText");
        Assert.That(text, Does.Contain(Hostile).And.Contain("\\u202eevil\\u0007").And.Not.Contain(new string('x', 100)));
        Assert.That(await browser.EvaluateAsync<int>("document.querySelector('bdi[title^=xxx]').title.length"),
            Is.EqualTo(1999).Or.EqualTo(2000));
    }

    [Test]
    public void APrivateRoundShowsNothingOfASingleClient()
    {
        RoundReport report = SampleReports.Round(4, 4);
        TensorReport kept = report.Tensors[0] with { Reason = "Client 'hospital-1' has no such tensor." };
        string html = File.ReadAllText(Write(report with { IsPrivate = true, Tensors = [kept, .. report.Tensors.Skip(1)] }));
        Assert.That(html, Does.Not.Contain("hospital-").And.Not.Contain("cosineValues\":"));
    }

    [Test]
    public void APageWithoutReportsIsRefused() => Assert.That(
        () => ReportPage.Write([], Stream.Null),
        Throws.ArgumentException.With.Message.StartsWith("The page needs the report of at least one"));

    [Test]
    public void ARoundOfTooManyCellsHasNoHeatMapAndSaysSo()
    {
        const int Many = 50_000;
        ClientReport[] clients =
            [.. Enumerable.Range(0, Many).Select(k => new ClientReport { Id = $"{k}", Weight = 1, Included = true, Kind = "full" })];
        TensorReport[] tensors = [.. clients.Select(client => new TensorReport
        {
            Name = $"layers.{client.Id}.weight",
            DType = "F32",
            Shape = [1],
            Rule = "s",
            Clients = [new TensorClientReport { Id = client.Id, Weight = 1, Cosine = 1, UpdateNorm = 1 }],
        })];
        string html = File.ReadAllText(Write(new RoundReport { Strategy = "s", Backend = "b", Clients = clients, Tensors = tensors }));
        Assert.That(html, Does.Contain("no heat map of 50000 clients by 50000 tensors").And.Not.Contain("cosineValues\":"));
    }

    [Test]
    public async Task TheQuantilesOfManyClientsAreDrawnOverTheRounds()
    {
        using Browser browser = await Browser.StartAsync();
        await browser.OpenAsync(Write([SampleReports.Round(30, 4), SampleReports.Round(30, 4) with { Round = 8 }]));
        Assert.That(browser.Console, Is.Empty);
        const string Label = "document.querySelector('[role=img]').getAttribute('aria-label')";
        Assert.That(await browser.EvaluateAsync<string>(Label), Does.Contain("quantiles"));
    }
}
