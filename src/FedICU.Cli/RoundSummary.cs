namespace FedICU.Cli;

/// <summary>A round's report in a few lines for a person.</summary>
internal static class RoundSummary
{
    public static void Write(RoundReport report, Terminal terminal)
    {
        var clients = new ResultTable("client", ">weight", ">share", "update", ">sent", ">of", "");
        foreach (ClientReport client in report.Clients)
        {
            clients.Add(
                client.Id, Text.Weight(client.Weight), client.Included ? Text.Percent(client.Share) : "-", client.Kind, Text.Bytes(client.BytesSent), Text.Bytes(client.BytesFull),
                client.Included ? "" : $"left out: {client.Reason}");
        }

        terminal.Table(clients);
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
}
