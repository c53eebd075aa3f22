using System.Text.Json;

namespace FedICU.Reports;

/// <summary>Writes the JSON document that the page's scripts draw.</summary>
internal sealed class ReportData(IReadOnlyList<RoundSummary> rounds)
{
    // Clients times tensors of all detailed rounds. Chosen: a browser opens the page in a few seconds. Each cell has
    // three numbers of 5.3 bytes.
    private const long MostCells = 2_000_000;

    // the detailed rounds; chosen: as many as a person selects from a list
    private const int MostDetailed = 100;

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
            cells += (long)round.Rows.Count * Math.Max(1, round.Columns.Count);
            if (count > 0 && cells > MostCells)
                break;
            count++;
        }

        return count;
    }

    private static void WriteRound(Utf8JsonWriter json, RoundSummary round)
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
        // by name, because the clients of the rounds differ
        json.WriteStartObject("norms");
        foreach ((string id, int row) in round.Rows)
        {
            if (double.IsFinite(round.UpdateNorms[row]))
                json.WriteNumber(DisplayName.Full(id), round.UpdateNorms[row]);
        }

        json.WriteEndObject();
        json.WriteEndObject();
    }
}
