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
        WriteLoraPairs(report, terminal);
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

    /// <summary>Shows what the rule did to each LoRA pair: the columns that were measured.</summary>
    private static void WriteLoraPairs(RoundReport report, Terminal terminal)
    {
        (string Header, string Legend, Func<LoraPairReport, string> Value, Func<LoraPairReport, bool> Has)[] all =
        [
            ("cross-term", "||mean(BA) - mean(B) mean(A)|| / ||mean(BA)||, the product's relative error if factors are averaged separately",
                pair => Text.Number(Finite(pair.CrossTerm)), pair => Finite(pair.CrossTerm) is not null),
            ("rank", "the rank that was written", pair => Text.Count(pair.Rank), pair => pair.Rank is not null),
            ("error", "||W - s B A|| / ||W|| of the written factors, where W is the mean of the clients' products",
                pair => Text.Number(pair.RelativeError), pair => pair.RelativeError is not null),
            ("effective rank", "exp of the entropy of W's singular values",
                pair => Text.Number(pair.EffectiveRank), pair => pair.EffectiveRank is not null),
            ("overlap of A", "how far the clients' row spaces agree, from 0 to 1",
                pair => Text.Number(pair.OverlapOfA), pair => pair.OverlapOfA is not null),
            ("overlap of B", "the same of their column spaces", pair => Text.Number(pair.OverlapOfB), pair => pair.OverlapOfB is not null),
        ];
        var columns = all.Where(column => report.LoraPairs.Any(column.Has)).ToList();
        if (columns.Count == 0)
            return;
        if (report.LoraPairs.All(pair => pair.EffectiveRank is null && !double.IsFinite(pair.CrossTerm)))
        {
            WriteLargestError(report, terminal);
            return;
        }

        terminal.Line();
        terminal.Line("LoRA pairs:");
        foreach ((string header, string legend, _, _) in columns)
            terminal.Line($"  {header}: {legend}");
        var pairs = new ResultTable(["module", .. columns.Select(column => ">" + column.Header)]);
        foreach (LoraPairReport pair in report.LoraPairs)
            pairs.Add([pair.Name, .. columns.Select(column => column.Value(pair))]);
        terminal.Table(pairs);
    }

    /// <summary>Shows one line for a round without statistics: adapters have hundreds of pairs.</summary>
    private static void WriteLargestError(RoundReport report, Terminal terminal)
    {
        string ranks = string.Join(", ", report.LoraPairs.Select(pair => pair.Rank).Distinct().Order().Select(Text.Count));
        LoraPairReport? worst = report.LoraPairs.MaxBy(pair => pair.RelativeError);
        string error = worst?.RelativeError switch
        {
            null => "",
            0 => "; exact but for rounding",
            double largest => $"; the largest relative error is {Text.Number(largest)}, in {Text.Clean(worst.Name)}",
        };
        terminal.Line($"{Text.Count(report.LoraPairs.Count, "LoRA pair")} of rank {ranks}{error}");
    }

    private static double? Finite(double value) => double.IsFinite(value) ? value : null;

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
