using System.Security.Cryptography;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace FedICU.Reports;

/// <summary>
/// The shell of a self-contained HTML page: styles, the plotting library, scripts and data. The page loads nothing and
/// its policy allows no other script. <c>page.js</c> gives the scripts a theme, sections, sortable tables and charts.
/// </summary>
internal sealed class HtmlPage(string title)
{
    private const string Licenses =
        "Contains Apache ECharts 6.1.0 (Apache-2.0), with zrender (BSD-3-Clause, Copyright 2017 Baidu Inc.) and " +
        "parts of d3 (BSD-3-Clause, Copyright 2010-2016 Mike Bostock): see THIRD-PARTY-NOTICES.txt of FedICU.Core.";

    private readonly List<string> _styles = [Asset.Read("page.css")];
    private readonly List<string> _scripts = [Asset.Read(Asset.Plots), Asset.Read("page.js"), Asset.Read("charts.js")];
    private readonly List<(string Id, Action<Utf8JsonWriter> Write)> _data = [];

    /// <summary>Adds a style sheet.</summary>
    public void AddStyle(string style) => _styles.Add(style);

    /// <summary>Adds a script, which runs after the scripts that were added before it.</summary>
    public void AddScript(string script) => _scripts.Add(script);

    /// <summary>Adds a JSON document, which a script reads by <c>fedicu.data(id)</c>.</summary>
    public void AddData(string id, Action<Utf8JsonWriter> write) => _data.Add((id, write));

    /// <summary>Writes the page in UTF-8.</summary>
    public void Write(Stream output)
    {
        string name = HtmlEncoder.Default.Encode(title);
        string policy = $"default-src 'none'; script-src {Hashes(_scripts)}; style-src {Hashes(_styles)}; img-src data:; " +
            "base-uri 'none'; form-action 'none'";
        Append(output, $"""
            <!DOCTYPE html>
            <!-- {Licenses} -->
            <html lang="en">
            <head>
            <meta charset="utf-8">
            <meta http-equiv="Content-Security-Policy" content="{policy}">
            <meta name="viewport" content="width=device-width, initial-scale=1">
            <meta name="color-scheme" content="light dark">
            <meta name="referrer" content="no-referrer">
            <link rel="icon" href="data:,">
            <title>{name}</title>

            """);
        foreach (string style in _styles)
            AppendElement(output, "style", style);
        Append(output, $"""
            </head>
            <body>
            <header><h1>{name}</h1></header>
            <main><noscript>This page draws its tables and charts by scripts, which this browser does not run.</noscript></main>

            """);
        foreach ((string id, Action<Utf8JsonWriter> write) in _data)
        {
            Append(output, $"<script type=\"application/json\" id=\"{id}\">");
            // the writer's default encoder escapes <, >, & and everything outside ASCII, so no text ends the element
            using (var json = new Utf8JsonWriter(output))
                write(json);
            Append(output, "</script>\n");
        }

        foreach (string script in _scripts)
            AppendElement(output, "script", script);
        Append(output, "</body>\n</html>\n");
    }

    private static string Hashes(IEnumerable<string> texts) => string.Join(
        ' ', texts.Select(text => $"'sha256-{Convert.ToBase64String(SHA256.HashData(Encoding.UTF8.GetBytes(text)))}'"));

    private static void AppendElement(Stream output, string element, string text)
    {
        if (text.Contains("</" + element, StringComparison.OrdinalIgnoreCase) || text.Contains("<!--", StringComparison.Ordinal))
            throw new InvalidOperationException($"The text of a {element} would end its element.");
        Append(output, $"<{element}>{text}</{element}>\n");
    }

    private static void Append(Stream output, string text) => output.Write(Encoding.UTF8.GetBytes(text));
}
