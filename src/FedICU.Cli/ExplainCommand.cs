using System.CommandLine;

namespace FedICU.Cli;

/// <summary><c>fedicu explain</c>: runs a round for its report and shows who pulls where.</summary>
internal sealed class ExplainCommand : FedIcuCommand
{
    // relative: weights that are equal on paper differ in their last bits
    private const double SameWeight = 1e-9;

    private readonly RoundLine _round = new(strategyRequired: false);

    public ExplainCommand(Terminal terminal) : base("explain", "Shows each client's weight, similarity, cosine and magnitude in each tensor: who pulls where. Writes no model.", terminal) =>
        _round.AddTo(this);

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
        RoundReport report = (await plan.RunAsync(global, TensorSink.Discard, Terminal, cancellationToken)).Report;

        Terminal.Line("w_k: the weight in the result. s_k: the similarity it was made of. cosine: of the client's update to the weighted mean update.");
        Terminal.Line("leads: the largest weight of the tensor, where no other is the same. against: an update that points away from the mean.");
        foreach (TensorReport tensor in report.Tensors)
            Write(tensor, Leader(tensor, report.Strategy));
        Terminal.Line();
        RoundSummary.Write(report, Terminal);
        Terminal.Line();
        WritePulls(report);
        return ExitCode.Done;
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
            if (IsAgainst(client))
                pull = pull.Length > 0 ? pull + ", against" : "against";
            table.Add(
                "  " + client.Id, Text.Number(client.Weight), Text.Number(client.Score), Text.Number(client.Cosine), Text.Number(client.UpdateNorm), Text.Number(client.Norm),
                Text.Percent(client.ShareSent), pull);
        }

        Terminal.Table(table);
    }

    private void WritePulls(RoundReport report)
    {
        List<TensorReport> weighed = [.. report.Tensors.Where(tensor => IsWeighed(tensor, report.Strategy))];
        var table = new ResultTable("client", ">leads", ">against", ">of tensors");
        foreach (ClientReport client in report.Clients.Where(client => client.Included))
        {
            int leads = weighed.Count(tensor => Leader(tensor, report.Strategy)?.Id == client.Id);
            int against = weighed.Count(tensor => tensor.Clients.Any(part => part.Id == client.Id && IsAgainst(part)));
            table.Add(client.Id, Text.Count(leads), Text.Count(against), Text.Count(weighed.Count));
        }

        Terminal.Table(table);
    }

    /// <summary>Whether the strategy itself gave weights: not to integers, nor to a tensor that was kept.</summary>
    private static bool IsWeighed(TensorReport tensor, string strategy) => tensor.Rule == strategy && tensor.Clients.Any(client => client.Weight is not null);

    /// <summary>The client of the largest weight; none where another's is the same but for rounding.</summary>
    public static TensorClientReport? Leader(TensorReport tensor, string strategy)
    {
        if (!IsWeighed(tensor, strategy))
            return null;
        TensorClientReport leader = tensor.Clients.MaxBy(client => client.Weight)!;
        return tensor.Clients.Count(client => leader.Weight - client.Weight <= SameWeight * Math.Abs(leader.Weight ?? 0)) > 1 ? null : leader;
    }

    private static bool IsAgainst(TensorClientReport client) => client.Cosine < 0;
}
