namespace FedICU.Cli;

/// <summary>A round's report in a few lines for a person.</summary>
internal static class RoundSummary
{
    public static void Write(RoundReport report, Terminal terminal)
    {
        Dictionary<string, double> weights = MeanWeights(report);
        // a strategy that weighs by shares needs no second column of them
        bool ownWeights = report.Clients.Any(client => weights.TryGetValue(client.Id, out double weight) && Math.Abs(weight - client.Share) > 1e-9);
        var clients = new ResultTable(["client", ">weight", ">share", .. ownWeights ? [">mean w_k"] : Array.Empty<string>(), "update", ">sent", ">of", ""]);
        foreach (ClientReport client in report.Clients)
        {
            string[] mean = !ownWeights ? [] : [Text.Percent(weights.TryGetValue(client.Id, out double weight) ? weight : null)];
            clients.Add(
            [
                client.Id, Text.Weight(client.Weight), client.Included ? Text.Percent(client.Share) : "-", .. mean, client.Kind, Text.Bytes(client.BytesSent), Text.Bytes(client.BytesFull),
                client.Included ? "" : $"left out: {client.Reason}",
            ]);
        }

        terminal.Table(clients);
        if (ownWeights)
            terminal.Line($"share: of the weights given. mean w_k: the weight that {report.Strategy} gave, over all tensors.");
        if (report.BackendShares.Count > 1)
            terminal.Line($"backends: {string.Join(", ", report.BackendShares.Select(part => $"{part.Name} {Text.Percent(part.Share)}"))} of the bytes");
        foreach (TensorReport tensor in report.Tensors.Where(tensor => tensor.Reason is not null))
            terminal.Line($"tensor {tensor.Name}: {tensor.Rule}: {tensor.Reason}");
        if (report.LoraPairs.Count > 0)
        {
            terminal.Line();
            terminal.Line("LoRA pairs: ||mean(BA) - mean(B) mean(A)|| / ||mean(BA)||, what averaging the factors apart does to their product");
            var pairs = new ResultTable("module", ">cross-term");
            foreach (LoraPairReport pair in report.LoraPairs)
                pairs.Add(pair.Name, Text.Number(pair.CrossTerm));
            terminal.Table(pairs);
        }

        foreach (string note in report.Notes)
            terminal.Line("note: " + note);
    }

    /// <summary>Each client's w_k in the mean of the tensors that the strategy made; none where it states no weights.</summary>
    private static Dictionary<string, double> MeanWeights(RoundReport report) =>
        report.Tensors.Where(tensor => tensor.Rule == report.Strategy).SelectMany(tensor => tensor.Clients).Where(client => client.Weight is not null)
            .GroupBy(client => client.Id, StringComparer.Ordinal).ToDictionary(client => client.Key, client => client.Average(part => part.Weight!.Value), StringComparer.Ordinal);
}
