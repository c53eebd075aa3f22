using System.Text.Json;

namespace FedICU.Reports;

/// <summary>Writes the JSON document that the page's scripts draw.</summary>
internal sealed class ReportData(IReadOnlyList<RoundSummary> rounds)
{
    // Clients times tensors of all detailed rounds. Chosen: a browser opens the page in a few seconds. Each cell has
    // three numbers of 5.3 bytes.
    public const long MostCells = 2_000_000;

    // The size of a client's row in the table of clients, in cells. Measured: about 250 bytes, and a cell has 16.
    private const int CellsOfClient = 16;

    // the detailed rounds; chosen: as many as a person selects from a list
    private const int MostDetailed = 100;

    // clients with a line each in the chart of norms; chosen: more cannot be told apart
    private const int MostLines = 20;

    private readonly bool _hasLines = rounds.SelectMany(round => round.Rows.Keys).Distinct().Take(MostLines + 1).Count() <= MostLines;

    public void Write(Utf8JsonWriter json)
    {
        int detailed = CountDetailed();
        json.WriteStartObject();
        json.WriteStartArray("rounds");
        foreach (RoundSummary round in rounds)
            WriteRound(json, round);
        json.WriteEndArray();
        json.WriteStartArray("details");
        for (int i = rounds.Count - detailed; i < rounds.Count; i++)
            new RoundDetails(rounds[i], i).Write(json);
        json.WriteEndArray();
        json.WriteEndObject();
    }

    /// <summary>Counts the last rounds whose details fit; the last one is always among them.</summary>
    private int CountDetailed()
    {
        long cells = 0;
        int count = 0;
        foreach (RoundSummary round in rounds.Reverse().Take(MostDetailed))
        {
            cells += (long)round.Rows.Count * (CellsOfClient + round.Columns.Count);
            if (count > 0 && cells > MostCells)
                break;
            count++;
        }

        return count;
    }

    private void WriteRound(Utf8JsonWriter json, RoundSummary round)
    {
        RoundReport report = round.Report;
        json.WriteStartObject();
        json.WriteString("label", round.Label);
        json.WriteString("strategy", DisplayName.Full(report.Strategy));
        json.WriteString("backend", DisplayName.Full(report.Backend));
        json.WriteBoolean("private", report.IsPrivate);
        json.WriteNumber("clients", report.Clients.Count);
        json.WriteNumber("included", report.Clients.Count(client => client.Included));
        json.WriteNumber("tensors", report.Tensors.Count);
        Json.Number(json, "meanUpdateNorm", round.MeanUpdateNorm);
        Json.Number(json, "normOfMean", round.NormOfMean);
        WriteNorms(json, round);
        json.WriteEndObject();
    }

    /// <summary>
    /// Writes the norms of a round by name, as the rounds' clients differ; of many clients the quantiles.
    /// </summary>
    private void WriteNorms(Utf8JsonWriter json, RoundSummary round)
    {
        if (_hasLines)
        {
            // a list of pairs: a name such as __proto__ is no member of an object in a script
            json.WriteStartArray("norms");
            foreach ((string id, int row) in round.Rows.Where(client => double.IsFinite(round.UpdateNorms[client.Value])))
            {
                json.WriteStartArray();
                json.WriteStringValue(DisplayName.Full(id));
                json.WriteNumberValue(round.UpdateNorms[row]);
                json.WriteEndArray();
            }

            json.WriteEndArray();
            return;
        }

        double[] sorted = [.. round.UpdateNorms.Where(double.IsFinite).Order()];
        json.WriteStartArray("quantiles");
        foreach (double share in (ReadOnlySpan<double>)(sorted.Length > 0 ? [0.1, 0.25, 0.75, 0.9] : []))
        {
            double at = share * (sorted.Length - 1);
            int low = (int)at, high = Math.Min(low + 1, sorted.Length - 1);
            json.WriteNumberValue(sorted[low] + (sorted[high] - sorted[low]) * (at - low));
        }

        json.WriteEndArray();
    }
}
