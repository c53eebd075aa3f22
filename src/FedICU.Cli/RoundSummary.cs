namespace FedICU.Cli;

/// <summary>Shows a round's report in a few lines.</summary>
internal static class RoundSummary
{
    // the difference up to which a strategy's weight counts as the client's share; chosen, for rounding
    private const double SameShare = 1e-9;

    public static void Write(RoundReport report, Terminal terminal)
    {
        if (!report.IsPrivate)
            WriteClients(report, terminal);
        if (report.BackendShares.Count > 1)
        {
            IEnumerable<string> parts = report.BackendShares.Select(part => $"{part.Name} {Text.Percent(part.Share)}");
            terminal.Line($"backends: {string.Join(", ", parts)} of the bytes");
        }

        foreach (TensorReport tensor in report.Tensors.Where(tensor => tensor.Reason is not null))
            terminal.Line($"tensor {tensor.Name}: {tensor.Rule}: {tensor.Reason}");
        if (report.LoraPairs.Count > 0)
        {
            terminal.Line();
            terminal.Line(
                "LoRA pairs: ||mean(BA) - mean(B) mean(A)|| / ||mean(BA)||, " +
                "the product's relative error if factors are averaged separately");
            var pairs = new ResultTable("module", ">cross-term");
            foreach (LoraPairReport pair in report.LoraPairs)
                pairs.Add(pair.Name, Text.Number(pair.CrossTerm));
            terminal.Table(pairs);
        }

        foreach (string note in report.Notes)
            terminal.Line("note: " + note);
    }

    private static void WriteClients(RoundReport report, Terminal terminal)
    {
        Dictionary<string, double> weights = MeanWeights(report);
        // a strategy that weighs by the shares needs no second column with the same numbers
        bool showsMeanWeights = report.Clients.Any(client =>
            weights.TryGetValue(client.Id, out double weight) && Math.Abs(weight - client.Share) > SameShare);
        string[] meanHeader = showsMeanWeights ? [">mean w_k"] : [];
        // what the stages measured of each client, such as Krum's scores
        IEnumerable<string> stageHeaders = report.Stages.Select(stage => $">{stage.Stage} {stage.Name}");
        var clients = new ResultTable(["client", ">weight", ">share", .. meanHeader, .. stageHeaders, "update", ">sent", ">of", ""]);
        Dictionary<string, double>[] stages = [.. report.Stages.Select(CollectValues)];
        foreach (ClientReport client in report.Clients)
        {
            string[] mean = !showsMeanWeights ? [] : [Text.Percent(weights.TryGetValue(client.Id, out double weight) ? weight : null)];
            clients.Add(
            [
                client.Id, Text.Weight(client.Weight), client.Included ? Text.Percent(client.Share) : "-", .. mean,
                .. stages.Select(values => Text.Number(values.TryGetValue(client.Id, out double value) ? value : null)), client.Kind,
                Text.Bytes(client.BytesSent), Text.Bytes(client.BytesFull), DescribeOutcome(client),
            ]);
        }

        terminal.Table(clients);
        if (showsMeanWeights)
            terminal.Line($"share: of the given weights. mean w_k: the weight from {report.Strategy}, averaged over all tensors.");
    }

    private static string DescribeOutcome(ClientReport client) =>
        !client.Included ? $"left out: {client.Reason}" : client.Chosen ? "" : "not chosen";

    private static Dictionary<string, double> CollectValues(StageReport stage) => stage.Clients.Zip(stage.Values)
        .ToDictionary(value => value.First, value => value.Second, StringComparer.Ordinal);

    /// <summary>
    /// Averages each client's w_k over the tensors that the strategy computed. A client without weights is not in the
    /// dictionary.
    /// </summary>
    private static Dictionary<string, double> MeanWeights(RoundReport report) => report.Tensors
        .Where(tensor => tensor.Rule == report.Strategy)
        .SelectMany(tensor => tensor.Clients)
        .Where(client => client.Weight is not null)
        .GroupBy(client => client.Id, StringComparer.Ordinal)
        .ToDictionary(client => client.Key, client => client.Average(part => part.Weight!.Value), StringComparer.Ordinal);
}
