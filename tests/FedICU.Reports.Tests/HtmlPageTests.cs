using System.Security.Cryptography;
using System.Text;
using FedICU.Tests;
using FedICU.Tests.Files;

namespace FedICU.Reports.Tests;

/// <summary>The shell of a page: what its policy allows, its data, its tables and its theme.</summary>
[CancelAfter(120_000)]
internal sealed class HtmlPageTests
{
    private const string Hostile = "</script><img src=x onerror=\"document.title='broken'\">\u2028&amp;";

    private TempFolder _folder = null!;

    [SetUp]
    public void Prepare() => _folder = new TempFolder();

    [TearDown]
    public void Remove() => _folder.Dispose();

    private string Write(HtmlPage page)
    {
        string path = _folder["page.html"];
        using FileStream file = File.Create(path);
        page.Write(file);
        return path;
    }

    private string WriteTable()
    {
        var page = new HtmlPage($"A title {Hostile}");
        page.AddData("rows", json =>
        {
            json.WriteStartArray();
            foreach ((string name, double? number) in (IEnumerable<(string, double?)>)[(Hostile, 2), ("b", null), ("c", 10)])
            {
                json.WriteStartArray();
                json.WriteStringValue(name);
                if (number is { } value)
                    json.WriteNumberValue(value);
                else
                    json.WriteNullValue();
                json.WriteEndArray();
            }

            json.WriteEndArray();
        });
        page.AddScript("""
            const section = fedicu.section("Numbers", "A sentence.");
            const rows = fedicu.data("rows");
            section.append(fedicu.table("Names and numbers", [{ name: "Name", kind: "name" }, { name: "Number", kind: "number" }], rows));
            fedicu.chart(section, { label: "Bars of the numbers", height: 200, option: colors => ({
              xAxis: fedicu.axis(colors, { type: "category", data: rows.map(row => row[0]) }), yAxis: fedicu.axis(colors, {}),
              series: [{ type: "bar", data: rows.map(row => row[1]) }] }),
              table: () => fedicu.table("Again", [{ name: "Name" }], rows) });
            """);
        return Write(page);
    }

    [Test]
    public void ThePlottingLibraryIsTheFileThatItsAuthorsPublished()
    {
        byte[] hash = SHA256.HashData(Encoding.UTF8.GetBytes(Asset.Read(Asset.Plots)));
        Assert.That(Convert.ToHexStringLower(hash), Is.EqualTo("b66b25aeb4df84e33199dc21694014d336d222cbd9deb0e5a7c14bd6aa0d0fd0"));
    }

    [Test]
    public void TheNoticesNameThePlottingLibraryAndItsParts()
    {
        string text = string.Join('\n', ThirdPartyNotices.Lines());
        foreach (string part in (string[])["Apache ECharts\nCopyright 2017-2026", "Copyright (c) 2017, Baidu Inc.", "Mike Bostock"])
            Assert.That(text, Does.Contain(part));
    }

    [Test]
    public void NoTextOfTheDataEndsItsElement()
    {
        string html = File.ReadAllText(WriteTable());
        Assert.That(html, Does.Not.Contain("<img src=x").And.Contain("\\u003Cimg src=x").And.Contain("&lt;img src=x"));
    }

    [Test]
    public void AScriptThatWouldEndItsElementIsRefused()
    {
        var page = new HtmlPage("title");
        page.AddScript("const text = '</script>';");
        Assert.That(() => page.Write(Stream.Null), Throws.InvalidOperationException);
    }

    [Test]
    public async Task ThePageLoadsWithoutErrorsAndRequests()
    {
        using Browser browser = await Browser.StartAsync();
        await browser.OpenAsync(WriteTable());
        await browser.ClickAsync("document.querySelector('.controls button')");
        Assert.Multiple(() =>
        {
            Assert.That(browser.Console, Is.Empty);
            Assert.That(browser.Requests, Is.Empty);
        });
        Assert.That(await browser.EvaluateAsync<string>("document.title"), Is.EqualTo($"A title {Hostile}"));
        Assert.That(await browser.EvaluateAsync<string>("document.querySelector('tbody th').textContent"), Does.StartWith("</script><img"));
        Assert.That(await browser.EvaluateAsync<int>("document.querySelectorAll('canvas, table').length"), Is.EqualTo(3));
        Assert.That(
            await browser.EvaluateAsync<string>("document.querySelector('[role=img]').getAttribute('aria-label')"),
            Is.EqualTo("Bars of the numbers"));
    }

    [Test]
    public async Task ThePolicyRefusesForeignScriptsStylesAndImages()
    {
        using Browser browser = await Browser.StartAsync();
        await browser.OpenAsync(WriteTable());
        await browser.EvaluateAsync<string>("""
            new Promise(done => {
              document.addEventListener("securitypolicyviolation", event => done(event.violatedDirective));
              document.body.append(Object.assign(document.createElement("script"), { textContent: "document.title = 'broken'" }));
            })
            """);
        Assert.That(await browser.EvaluateAsync<string>("document.title"), Does.StartWith("A title"));
        Assert.That(browser.Console, Has.Some.Contains("Content Security Policy"));
    }

    [Test]
    public async Task ATableIsSortedByClickAndByKeyboard()
    {
        const string Numbers = "[...document.querySelectorAll('tbody td')].map(cell => cell.textContent).join()";
        const string Header = "document.querySelectorAll('thead th')[1]";
        using Browser browser = await Browser.StartAsync();
        await browser.OpenAsync(WriteTable());
        Assert.That(await browser.EvaluateAsync<string>(Numbers), Is.EqualTo("2,–,10"));
        await browser.ClickAsync($"{Header}.firstChild");
        Assert.That(await browser.EvaluateAsync<string>(Numbers), Is.EqualTo("10,2,–"));
        Assert.That(await browser.EvaluateAsync<string>($"{Header}.getAttribute('aria-sort')"), Is.EqualTo("descending"));
        await browser.EvaluateAsync<bool>("document.querySelector('thead button').focus() === undefined");
        await browser.PressAsync("Tab");
        await browser.PressAsync("Enter");
        Assert.That(await browser.EvaluateAsync<string>(Numbers), Is.EqualTo("2,10,–"), "missing values stay at the end");
        Assert.That(await browser.EvaluateAsync<string>($"{Header}.getAttribute('aria-sort')"), Is.EqualTo("ascending"));
    }

    [Test]
    public async Task TheThemeIsTheSystemsUntilTheSwitchIsUsed()
    {
        const string Theme = "document.documentElement.dataset.theme";
        using Browser browser = await Browser.StartAsync();
        await browser.SetSystemThemeAsync("dark");
        await browser.OpenAsync(WriteTable());
        Assert.That(await browser.EvaluateAsync<string>(Theme), Is.EqualTo("dark"));
        await browser.SetSystemThemeAsync("light");
        Assert.That(
            await browser.EvaluateAsync<string>(
                $"new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done({Theme}))))"),
            Is.EqualTo("light"));
        await browser.ClickAsync("document.getElementById('theme')");
        Assert.That(await browser.EvaluateAsync<string>(Theme), Is.EqualTo("dark"));
        Assert.That(
            await browser.EvaluateAsync<string>("document.getElementById('theme').getAttribute('aria-pressed')"), Is.EqualTo("true"));
        Assert.That(await browser.EvaluateAsync<string>("getComputedStyle(document.body).backgroundColor"), Is.EqualTo("rgb(17, 21, 27)"));
    }
}
