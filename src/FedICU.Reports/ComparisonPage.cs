using System.Text.Json;

namespace FedICU.Reports;

/// <summary>
/// A comparison of strategies as one self-contained HTML page: bars of a metric, lines of sweeps, time and memory of
/// each run, and a table that can be sorted.
/// </summary>
/// <param name="title">The page's title.</param>
/// <param name="runs">The runs in their order.</param>
/// <example>
/// <code>
/// var page = new ComparisonPage("Round 7", runs) { Metric = "accuracy", Best = "fedicu tau=0.5" };
/// page.Write(file);
/// </code>
/// </example>
public sealed class ComparisonPage(string title, IReadOnlyList<ComparedRun> runs)
{
    /// <summary>Gets the metric that is shown first; null: the first one that a run has.</summary>
    public string? Metric { get; init; }

    /// <summary>Gets the name of the best run, which is marked; null if none is.</summary>
    public string? Best { get; init; }

    /// <summary>Gets a sentence below the title, such as the command that evaluated; null without one.</summary>
    public string? Description { get; init; }

    /// <summary>Writes the page in UTF-8.</summary>
    /// <param name="output">Gets the page. It stays open.</param>
    public void Write(Stream output)
    {
        ArgumentNullException.ThrowIfNull(output);
        var page = new HtmlPage(DisplayName.Full(title));
        page.AddData("comparison", WriteData);
        page.AddScript(Asset.Read("comparison.js"));
        page.Write(output);
    }

    private void WriteData(Utf8JsonWriter json)
    {
        json.WriteStartObject();
        Json.Text(json, "metric", Metric);
        Json.Text(json, "best", Best);
        Json.Text(json, "description", Description);
        json.WriteStartArray("runs");
        foreach (ComparedRun run in runs)
            WriteRun(json, run);
        json.WriteEndArray();
        json.WriteEndObject();
    }

    private static void WriteRun(Utf8JsonWriter json, ComparedRun run)
    {
        json.WriteStartObject();
        json.WriteString("name", DisplayName.Full(run.Name));
        Json.Text(json, "strategy", run.Strategy);
        // lists of pairs: names such as __proto__ are no members of an object in a script
        json.WriteStartArray("options");
        foreach ((string name, string value) in run.Options)
        {
            json.WriteStartArray();
            json.WriteStringValue(DisplayName.Full(name));
            json.WriteStringValue(DisplayName.Full(value));
            json.WriteEndArray();
        }

        json.WriteEndArray();
        json.WriteStartArray("metrics");
        foreach ((string name, double value) in run.Metrics)
        {
            json.WriteStartArray();
            json.WriteStringValue(DisplayName.Full(name));
            if (double.IsFinite(value))
                json.WriteNumberValue(value);
            else
                json.WriteStringValue(double.IsNaN(value) ? "NaN" : value > 0 ? "Infinity" : "-Infinity");
            json.WriteEndArray();
        }

        json.WriteEndArray();
        Json.Number(json, "seconds", run.Seconds);
        Json.Number(json, "evaluation", run.EvaluationSeconds);
        Json.Number(json, "memory", run.PeakMemoryBytes);
        json.WriteString("digest", run.Digest);
        Json.Text(json, "same", run.SameAs);
        Json.Text(json, "failure", run.Failure);
        json.WriteEndObject();
    }
}
