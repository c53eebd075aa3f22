using System.Globalization;
using System.Text;
using System.Text.Encodings.Web;
using FedICU.Extensions;

namespace HttpRounds;

/// <summary>The page for the server's operator: one file of HTML that needs nothing else.</summary>
internal static class StatusPage
{
    /// <summary>Writes the page.</summary>
    /// <param name="status">The current round.</param>
    /// <param name="finished">The rounds before it.</param>
    public static string Write(FederatedRoundStatus status, IReadOnlyList<FinishedRound> finished)
    {
        var rows = new StringBuilder();
        if (!status.IsFinished)
        {
            string state = status.IsOpen ? "takes updates" : "is aggregated";
            string attempt = status.Attempt > 1 ? string.Create(CultureInfo.InvariantCulture, $", attempt {status.Attempt}") : "";
            rows.Append(
                CultureInfo.InvariantCulture,
                $"<tr id=\"current\"><td>{status.Number}<td>{state}{attempt}<td>" +
                $"{status.Clients.Count} of {status.ExpectedClients}<td></tr>\n");
        }

        foreach (FinishedRound round in finished.Reverse())
        {
            rows.Append(
                CultureInfo.InvariantCulture,
                $"<tr class=\"over\"><td>{round.Number}<td>is over<td>{round.Included} of {round.Clients} in the model" +
                $"<td><a href=\"rounds/{round.Number}/report.html\">page</a> <a href=\"rounds/{round.Number}/report\">JSON</a></tr>\n");
        }

        string arrived = string.Concat(status.Clients.Select(client => $"<li>{Encode(client)}</li>\n"));
        string deadline = status.Deadline is { } time ? $"<p>Deadline: {time.UtcDateTime:u}</p>" : "";
        string failure = status.LastFailure is { } sentence ? $"<p class=\"failure\">Last failure: {Encode(sentence)}</p>" : "";
        return $$"""
            <!doctype html>
            <html lang="en">
            <meta charset="utf-8">
            <meta http-equiv="refresh" content="10">
            <meta name="viewport" content="width=device-width">
            <link rel="icon" href="data:,">
            <title>Federated rounds</title>
            <style>
            body { font: 16px/1.5 system-ui, sans-serif; max-width: 48rem; margin: 2rem auto; padding: 0 1rem; }
            table { border-collapse: collapse; width: 100%; }
            th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid #ccc; }
            code { overflow-wrap: anywhere; }
            .failure { color: #a00; }
            </style>
            <h1>Federated rounds</h1>
            <table id="rounds">
            <thead><tr><th>round<th>state<th>clients<th>report</tr></thead>
            <tbody>
            {{rows}}</tbody>
            </table>
            <h2>{{(status.IsFinished ? "All rounds are over" : $"Clients that have sent an update for round {status.Number}")}}</h2>
            <ul id="clients">
            {{arrived}}</ul>
            {{deadline}}{{failure}}
            <p>Global model: <code>{{status.BaseDigest}}</code></p>
            </html>
            """;
    }

    private static string Encode(string text) => HtmlEncoder.Default.Encode(text);
}
