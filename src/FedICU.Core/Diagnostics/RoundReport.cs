using System.Globalization;
using System.Text;
using System.Text.Json;
using FedICU.Diagnostics;
using FedICU.Text;

namespace FedICU;

/// <summary>What happened in a round: for a person through <see cref="ToString"/>, for a program through <see cref="ToJson"/>.</summary>
public sealed record RoundReport
{
    // a line lists no more clients than a person reads
    private const int ListedClients = 10;

    // weights that differ by less are the same, divided in another order
    private const double Rounding = 1e-9;

    /// <summary>The rule: <c>fedicu</c>.</summary>
    public required string Strategy { get; init; }

    /// <summary>What computed: <c>simd</c>.</summary>
    public required string Backend { get; init; }

    /// <summary>
    /// What share of the bytes each backend computed with, the largest first: a device leaves small verbs, a rule's own loops and, once it
    /// has failed,
    /// all verbs to the CPU. Empty where nothing was computed.
    /// </summary>
    public IReadOnlyList<BackendShare> BackendShares { get; init => field = value ?? []; } = [];

    /// <summary>The number of the round, where it was given.</summary>
    public long? Round { get; init; }

    /// <summary>Every client that was added, in ordinal order of the ids.</summary>
    public required IReadOnlyList<ClientReport> Clients { get; init; }

    /// <summary>Every tensor of the global model, in its order.</summary>
    public required IReadOnlyList<TensorReport> Tensors { get; init; }

    /// <summary>For each LoRA pair, what averaging the factors apart does to their product; empty unless statistics were asked for.</summary>
    public IReadOnlyList<LoraPairReport> LoraPairs { get; init => field = value ?? []; } = [];

    /// <summary>What else is worth knowing: weights assumed, types widened, bases not stated.</summary>
    public IReadOnlyList<string> Notes { get; init => field = value ?? []; } = [];

    /// <summary>The report as indented JSON; numbers that are not finite are null, as are those that are not there.</summary>
    public string ToJson() => JsonSerializer.Serialize(this, ReportJson.Default.RoundReport);

    /// <summary>Reads what <see cref="ToJson"/> wrote.</summary>
    /// <exception cref="FedIcuException">The text is no report.</exception>
    public static RoundReport FromJson(string json)
    {
        ArgumentNullException.ThrowIfNull(json);
        try
        {
            RoundReport report = JsonSerializer.Deserialize(json, ReportJson.Default.RoundReport) ?? throw new FedIcuException("The text is no report: it is null.");
            // the serializer checks members, not the items of lists
            bool holdsNull = HoldsNull(report.Clients) || HoldsNull(report.Tensors) || report.Tensors.Any(tensor => HoldsNull(tensor.Clients)) ||
                HoldsNull(report.LoraPairs) || HoldsNull(report.Notes) || HoldsNull(report.BackendShares);
            return !holdsNull ? report : throw new FedIcuException("The text is no report: a list holds null.");
        }
        catch (JsonException e)
        {
            // the serializer's own message holds names from the text as they are
            throw new FedIcuException($"The text is no report: the fault is at byte {e.BytePositionInLine + 1} of line {e.LineNumber + 1}.", e);
        }
    }

    private static bool HoldsNull<T>(IReadOnlyList<T> list) where T : class => list.Any(item => item is null);

    /// <summary>The clients with their weights and fates, then the notes; a few lines for a person.</summary>
    public override string ToString()
    {
        var text = new StringBuilder();
        int included = Clients.Count(client => client.Included);
        text.Append(CultureInfo.InvariantCulture, $"{Sentence.Clean(Strategy)}: {included} of {Sentence.Count(Clients.Count, "client")}");
        text.Append(CultureInfo.InvariantCulture, $", {Sentence.Count(Tensors.Count, "tensor")}, backend {Sentence.Clean(Backend)}");
        if (DescribeShares() is { } shares)
            text.Append(" (").Append(shares).Append(')');
        foreach (ClientReport client in Clients)
        {
            text.AppendLine().Append(CultureInfo.InvariantCulture, $"  {Sentence.Clean(client.Id)}: weight {client.Weight:G9}");
            if (client.Included)
                text.Append(CultureInfo.InvariantCulture, $" (share {client.Share:P1}), sent {client.BytesSent} of {Sentence.Count(client.BytesFull, "byte")}");
            else
                text.Append(CultureInfo.InvariantCulture, $", left out: {client.Reason}");
        }

        AppendOwnWeights(text);
        foreach (TensorReport tensor in Tensors.Where(tensor => tensor.Reason is not null))
            text.AppendLine().Append(CultureInfo.InvariantCulture, $"  tensor {Sentence.Clean(tensor.Name)}: {tensor.Rule}: {tensor.Reason}");
        foreach (LoraPairReport pair in LoraPairs)
            text.AppendLine().Append(CultureInfo.InvariantCulture, $"  LoRA pair {Sentence.Clean(pair.Name)}: cross-term {pair.CrossTerm:G4}");
        foreach (string note in Notes)
            text.AppendLine().Append("  note: ").Append(note);
        return text.ToString();
    }

    /// <summary>The backends' shares of the bytes; null where one backend did all.</summary>
    internal string? DescribeShares() => BackendShares.Count < 2 ? null
        : $"{string.Join(", ", BackendShares.Select(part => string.Create(CultureInfo.InvariantCulture, $"{part.Name} {part.Share:P1}")))} of the bytes";

    /// <summary>Where a strategy weighs by another rule than the shares, the shares alone would tell a wrong tale.</summary>
    private void AppendOwnWeights(StringBuilder text)
    {
        var shares = Clients.DistinctBy(client => client.Id).ToDictionary(client => client.Id, client => client.Share);
        var weights = Tensors.Where(tensor => tensor.Clients.Any(client => Math.Abs((client.Weight ?? double.NaN) - shares.GetValueOrDefault(client.Id)) > Rounding))
            .SelectMany(tensor => tensor.Clients).Where(client => client.Weight is not null).GroupBy(client => client.Id).ToList();
        if (weights.Count == 0)
            return;
        text.AppendLine().Append(CultureInfo.InvariantCulture, $"  {Strategy} weighs the clients by w_k, not by these shares; mean w_k: ")
            .AppendJoin(", ", weights.Take(ListedClients).Select(client => string.Create(CultureInfo.InvariantCulture, $"{Sentence.Clean(client.Key)} {client.Average(part => part.Weight):F3}")))
            .Append(weights.Count > ListedClients ? $" and {weights.Count - ListedClients} more" : "");
    }
}
