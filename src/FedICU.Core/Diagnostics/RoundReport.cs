using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;
using FedICU.Diagnostics;
using FedICU.Text;

namespace FedICU;

/// <summary>
/// The report of a round: <see cref="ToString"/> writes it for a person, <see cref="ToJson"/> for a program.
/// </summary>
public sealed record RoundReport
{
    // the clients that a line lists: chosen, what a person reads
    private const int ListedClients = 10;

    // Weights that differ by at most this, and for leaders by this part of the largest, are equal up to rounding.
    // Chosen, far above float64's 1e-16.
    private const double WeightTolerance = 1e-9;

    /// <summary>
    /// The form of the JSON, <c>format</c>. It grows with a change that readers must know; new keys are none. The
    /// generated reader sets it, after <see cref="ReportFormat"/> has checked what the text states.
    /// </summary>
    [JsonInclude]
    [JsonPropertyOrder(-1)]
    internal int Format { get; init => field = ReportFormat.Current; } = ReportFormat.Current;

    /// <summary>The rule's name, such as <c>fedicu</c>.</summary>
    public required string Strategy { get; init; }

    /// <summary>The backend's name, such as <c>simd</c>.</summary>
    public required string Backend { get; init; }

    /// <summary>
    /// The share of the bytes that each backend computed with, the largest first. A device leaves small verbs and a
    /// rule's own loops to the CPU, and all verbs once it has failed. Empty if nothing was computed.
    /// </summary>
    public IReadOnlyList<BackendShare> BackendShares { get; init => field = value ?? []; } = [];

    /// <summary>The number of the round; null if it is unknown.</summary>
    public long? Round { get; init; }

    /// <summary>
    /// Whether the round is private, as <c>dp-fedavg</c> makes it. The weights, shares and sizes of the clients are
    /// then placeholders, and <see cref="ToString"/> writes nothing of a single client.
    /// </summary>
    public bool IsPrivate { get; init; }

    /// <summary>Every client that was added, in ordinal order of the ids.</summary>
    public required IReadOnlyList<ClientReport> Clients { get; init; }

    /// <summary>The numbers that the rule's stages computed, such as Krum's scores; empty for most rules.</summary>
    public IReadOnlyList<StageReport> Stages { get; init => field = value ?? []; } = [];

    /// <summary>Every tensor of the global model, in its order.</summary>
    public required IReadOnlyList<TensorReport> Tensors { get; init; }

    /// <summary>
    /// The cross-term of each LoRA pair: the error that averaging the factors separately makes in their product. Empty
    /// unless statistics were requested.
    /// </summary>
    public IReadOnlyList<LoraPairReport> LoraPairs { get; init => field = value ?? []; } = [];

    /// <summary>
    /// The cosine of each two clients' updates. Null unless statistics were requested, in a private round, for rules of
    /// LoRA pairs, and for more clients than <see cref="RoundOptions.MaxSimilarityClients"/>.
    /// </summary>
    public ClientSimilarities? Similarities { get; init; }

    /// <summary>Notes, such as assumed weights, widened types and bases that were not stated.</summary>
    public IReadOnlyList<string> Notes { get; init => field = value ?? []; } = [];

    /// <summary>
    /// Whether the strategy gave the tensor's clients weights. It gives none to integers and to tensors that are kept.
    /// </summary>
    public bool IsWeighted(TensorReport tensor)
    {
        ArgumentNullException.ThrowIfNull(tensor);
        return tensor.Rule == Strategy && tensor.Clients.Any(client => client.Weight is not null);
    }

    /// <summary>
    /// Finds the client that leads a tensor: the one with the largest weight. Null if another client's weight equals it
    /// up to rounding, or if the strategy gave no weights.
    /// </summary>
    public TensorClientReport? FindLeader(TensorReport tensor)
    {
        if (!IsWeighted(tensor))
            return null;
        TensorClientReport leader = tensor.Clients.MaxBy(client => client.Weight)!;
        double margin = WeightTolerance * Math.Abs(leader.Weight ?? 0);
        return tensor.Clients.Count(client => leader.Weight - client.Weight <= margin) > 1 ? null : leader;
    }

    /// <summary>Writes the report as indented JSON. NaN, infinities and missing numbers are null.</summary>
    public string ToJson() => JsonSerializer.Serialize(this, ReportJson.Default.RoundReport);

    /// <summary>Reads a report that <see cref="ToJson"/> wrote.</summary>
    /// <exception cref="FedIcuException">The text is not a report, or one of a later format.</exception>
    public static RoundReport FromJson(string json)
    {
        ArgumentNullException.ThrowIfNull(json);
        try
        {
            ReportFormat.RefuseOther(json);
            RoundReport report = JsonSerializer.Deserialize(json, ReportJson.Default.RoundReport) ??
                throw new FedIcuException("The text is not a report: it is null.");
            // the serializer checks members, but not the items of lists
            bool holdsNull = HoldsNull(report.Clients) || HoldsNull(report.Tensors) ||
                report.Tensors.Any(tensor => HoldsNull(tensor.Clients)) ||
                HoldsNull(report.LoraPairs) || HoldsNull(report.Stages) || HoldsNull(report.Notes) || HoldsNull(report.BackendShares) ||
                report.Stages.Any(stage => HoldsNull(stage.Clients)) ||
                report.Similarities is { } similarities && HoldsNull(similarities.Clients);
            if (holdsNull)
                throw new FedIcuException("The text is not a report: a list holds null.");
            if (report.Stages.Any(stage => stage.Clients.Count != stage.Values.Count))
                throw new FedIcuException("The text is not a report: a stage does not hold one value for each of its clients.");
            return report.Similarities is not { IsComplete: false }
                ? report
                : throw new FedIcuException("The text is not a report: similarities do not hold one cosine for each pair of clients.");
        }
        catch (JsonException e)
        {
            // the serializer's own message would quote names from the text without cleaning them
            throw new FedIcuException(
                $"The text is not a report: the fault is at byte {e.BytePositionInLine + 1} of line {e.LineNumber + 1}.", e);
        }
    }

    private static bool HoldsNull<T>(IReadOnlyList<T> list) where T : class => list.Any(item => item is null);

    /// <summary>
    /// Writes a few lines for a person: the clients with their weights, what was dropped, and the notes. Of a private
    /// round it writes the number of clients alone.
    /// </summary>
    public override string ToString()
    {
        var text = new StringBuilder();
        int included = Clients.Count(client => client.Included);
        text.Append(CultureInfo.InvariantCulture, $"{Sentence.Clean(Strategy)}: {included} of {Sentence.Count(Clients.Count, "client")}");
        text.Append(CultureInfo.InvariantCulture, $", {Sentence.Count(Tensors.Count, "tensor")}, backend {Sentence.Clean(Backend)}");
        if (DescribeShares() is { } shares)
            text.Append(" (").Append(shares).Append(')');
        foreach (ClientReport client in IsPrivate ? [] : Clients)
        {
            text.AppendLine().Append(CultureInfo.InvariantCulture, $"  {Sentence.Clean(client.Id)}: weight {client.Weight:G9}");
            if (client.Included)
            {
                text.Append(CultureInfo.InvariantCulture, $" (share {client.Share:P1}), ")
                    .Append(CultureInfo.InvariantCulture, $"sent {client.BytesSent} of {Sentence.Count(client.BytesFull, "byte")}");
            }
            else
            {
                text.Append(CultureInfo.InvariantCulture, $", left out: {client.Reason}");
            }
        }

        AppendOwnWeights(text);
        foreach (TensorReport tensor in Tensors.Where(tensor => tensor.Reason is not null))
            text.AppendLine().Append(CultureInfo.InvariantCulture,
                $"  tensor {Sentence.Clean(tensor.Name)}: {tensor.Rule}: {tensor.Reason}");
        foreach (LoraPairReport pair in LoraPairs.Where(pair => double.IsFinite(pair.CrossTerm)))
            text.AppendLine().Append(CultureInfo.InvariantCulture,
                $"  LoRA pair {Sentence.Clean(pair.Name)}: cross-term {pair.CrossTerm:G4}");
        foreach (string note in Notes)
            text.AppendLine().Append("  note: ").Append(note);
        return text.ToString();
    }

    /// <summary>Describes the backends' shares of the bytes; null if there is only one backend.</summary>
    internal string? DescribeShares()
    {
        if (BackendShares.Count < 2)
            return null;
        IEnumerable<string> shares =
            BackendShares.Select(part => string.Create(CultureInfo.InvariantCulture, $"{part.Name} {part.Share:P1}"));
        return $"{string.Join(", ", shares)} of the bytes";
    }

    /// <summary>
    /// Appends the mean weights of a strategy that does not weigh by the shares, which would be misleading alone.
    /// </summary>
    private void AppendOwnWeights(StringBuilder text)
    {
        var shares = Clients.DistinctBy(client => client.Id).ToDictionary(client => client.Id, client => client.Share);
        var weights = Tensors.Where(tensor => tensor.Clients.Any(DiffersFromShare))
            .SelectMany(tensor => tensor.Clients).Where(client => client.Weight is not null).GroupBy(client => client.Id).ToList();
        if (weights.Count == 0)
            return;
        IEnumerable<string> means = weights.Take(ListedClients).Select(client => string.Create(
            CultureInfo.InvariantCulture, $"{Sentence.Clean(client.Key)} {client.Average(part => part.Weight):F3}"));
        text.AppendLine().Append(CultureInfo.InvariantCulture, $"  {Strategy} weighs the clients by w_k, not by these shares; mean w_k: ")
            .AppendJoin(", ", means)
            .Append(weights.Count > ListedClients ? $" and {weights.Count - ListedClients} more" : "");

        bool DiffersFromShare(TensorClientReport client) =>
            Math.Abs((client.Weight ?? double.NaN) - shares.GetValueOrDefault(client.Id)) > WeightTolerance;
    }
}
