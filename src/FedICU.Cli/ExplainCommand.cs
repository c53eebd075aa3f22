using System.CommandLine;

namespace FedICU.Cli;

/// <summary>
/// The command <c>fedicu explain</c>: runs a round for its report and shows how each client influences each tensor.
/// </summary>
internal sealed class ExplainCommand : FedIcuCommand
{
    private readonly RoundLine _round = new(strategyRequired: false);
    private readonly Option<bool> _json = Flags.Json();

    public ExplainCommand(Terminal terminal)
        : base("explain", "Shows each client's weight, similarity, cosine and magnitude in each tensor. Writes no model.", terminal)
    {
        _round.AddTo(this);
        Add(_json);
    }

    public override IReadOnlyList<string> Examples =>
    [
        "fedicu explain --global global.safetensors --client a.safetensors --client b.safetensors",
        "fedicu explain --strategy fedicu --set similarity=mean --global base/ --client hospital=run7/a --client clinic=run7/b",
    ];

    protected override async Task<int> RunAsync(ParseResult line, CancellationToken cancellationToken)
    {
        RoundPlan plan = _round.Read(line, new RoundOptions { Statistics = true }, Terminal);
        using var device = plan.Configured.Options.Backend as IDisposable;
        using TensorSource global = Paths.Open("--global", plan.Global);
        RoundReport report = (await plan.RunAsync(global, TensorSink.Discard, null, Terminal, cancellationToken)).Report;

        if (line.GetValue(_json))
        {
            Terminal.Json(report.ToJson());
            return ExitCode.Done;
        }

        if (!report.IsPrivate)
            WriteLegend();
        foreach (TensorReport tensor in report.Tensors)
            Write(tensor, report.FindLeader(tensor));
        Terminal.Line();
        RoundSummary.Write(report, Terminal);
        if (!report.IsPrivate)
            WriteInfluences(report);
        return ExitCode.Done;
    }

    private void WriteLegend()
    {
        Terminal.Line(
            "w_k: the weight in the result. s_k: the similarity that gave the weight. " +
            "cosine: between the client's update and the weighted mean update.");
        Terminal.Line("leads: the tensor's largest weight, if no other equals it. against: an update that points away from the mean.");
    }

    private void Write(TensorReport tensor, TensorClientReport? leader)
    {
        Terminal.Line();
        Terminal.Line($"{tensor.Name}  {tensor.DType} [{string.Join(", ", tensor.Shape)}]  {tensor.Rule}");
        if (tensor.Clients.Count == 0)
            return;
        var table = new ResultTable("  client", ">w_k", ">s_k", ">cosine", ">|update|", ">|parameters|", ">sent", "pull");
        foreach (TensorClientReport client in tensor.Clients)
        {
            string pull = client == leader ? "leads" : "";
            if (client.IsAgainst)
                pull = pull.Length > 0 ? pull + ", against" : "against";
            table.Add(
                "  " + client.Id, Text.Number(client.Weight), Text.Number(client.Score), Text.Number(client.Cosine),
                Text.Number(client.UpdateNorm), Text.Number(client.Norm), Text.Percent(client.ShareSent), pull);
        }

        Terminal.Table(table);
    }

    private void WriteInfluences(RoundReport report)
    {
        Terminal.Line();
        List<TensorReport> weighted = [.. report.Tensors.Where(report.IsWeighted)];
        var table = new ResultTable("client", ">leads", ">against", ">of tensors");
        List<string?> leaders = [.. weighted.Select(tensor => report.FindLeader(tensor)?.Id)];
        foreach (ClientReport client in report.Clients.Where(client => client.Included))
        {
            int leads = leaders.Count(leader => leader == client.Id);
            int against = weighted.Count(tensor => tensor.Clients.Any(part => part.Id == client.Id && part.IsAgainst));
            table.Add(client.Id, Text.Count(leads), Text.Count(against), Text.Count(weighted.Count));
        }

        Terminal.Table(table);
    }
}
