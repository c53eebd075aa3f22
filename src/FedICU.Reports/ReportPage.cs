using FedICU.Reports;

namespace FedICU;

/// <summary>
/// Writes reports of rounds as one HTML page: heat maps of clients by tensors, who pulls where, norms over rounds,
/// excluded clients and LoRA errors. The page is one file and loads nothing from the network.
/// </summary>
public static class ReportPage
{
    /// <summary>
    /// Writes the page in UTF-8. Of a private round it shows nothing of a single client. Of many or large rounds the
    /// details of the last ones are written, so that a browser can open the page.
    /// </summary>
    /// <param name="reports">The reports of at least one round, in their order.</param>
    /// <param name="output">The stream, which stays open.</param>
    /// <param name="title">The page's title. Null: the strategies and the rounds.</param>
    /// <exception cref="ArgumentException">There is no report.</exception>
    public static void Write(IReadOnlyList<RoundReport> reports, Stream output, string? title = null)
    {
        ArgumentNullException.ThrowIfNull(reports);
        ArgumentNullException.ThrowIfNull(output);
        if (reports.Count == 0)
            throw new ArgumentException("The page needs the report of at least one round.", nameof(reports));
        RoundSummary[] rounds = [.. reports.Select((report, index) => new RoundSummary(report, index))];
        var page = new HtmlPage(DisplayName.Full(title ?? Describe(reports)));
        foreach (string script in (string[])["matrix.js", "heat-map.js", "clients.js", "influence.js", "rounds.js", "report.js"])
            page.AddScript(Asset.Read(script));
        page.AddData("report", new ReportData(rounds).Write);
        page.Write(output);
    }

    private static string Describe(IReadOnlyList<RoundReport> reports)
    {
        string strategies = string.Join(", ", reports.Select(report => report.Strategy).Distinct());
        return (reports[0].Round, reports[^1].Round, reports.Count) switch
        {
            (null, _, 1) => $"A round of {strategies}",
            ({ } round, _, 1) => $"Round {round} of {strategies}",
            ({ } first, { } last, _) => $"Rounds {first} to {last} of {strategies}",
            _ => $"{reports.Count} rounds of {strategies}",
        };
    }
}
