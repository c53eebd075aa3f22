using System.Collections;

namespace FedICU.Rounds;

/// <summary>
/// The tensors of a round's report. A tensor's report and its clients' rows are created when they are read: thousands
/// of clients times hundreds of tensors would take more memory than the round. Until then only the figures are kept.
/// </summary>
internal sealed class TensorReports(string strategy, IReadOnlyList<RoundClient> clients, IReadOnlyList<TensorInfo> outputs)
    : IReadOnlyList<TensorReport>
{
    // null as long as no tensor has more than the clients' shares to report, as in FedAvg
    private Part[]? _parts;

    public int Count => outputs.Count;

    public TensorReport this[int index] =>
        Parts[index].Report ??= Create(outputs[index], strategy) with { Clients = new Rows(clients, Parts[index]) };

    /// <summary>Sets the figures of a tensor that the strategy aggregated.</summary>
    /// <param name="index">The tensor's number.</param>
    /// <param name="weights">The result of <see cref="TensorContext.Reported"/>.</param>
    /// <param name="statistics">Norms and cosines; null if none were requested.</param>
    /// <param name="sent">The share of its entries that each client sent; null if every client sent all.</param>
    public void Set(int index, double[]? weights, UpdateStatistics? statistics, double[]? sent)
    {
        if (weights is not null || statistics is not null || sent is not null)
            Parts[index] = new Part { Weights = weights, Statistics = statistics, Sent = sent };
    }

    /// <summary>Sets the report of a tensor that the strategy did not aggregate.</summary>
    public void Set(int index, string rule, string? reason, IReadOnlyList<TensorClientReport> rows) =>
        Parts[index].Report = Create(outputs[index], rule) with { Reason = reason, Clients = rows };

    public IEnumerator<TensorReport> GetEnumerator() => Enumerable.Range(0, Count).Select(i => this[i]).GetEnumerator();

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

    private Part[] Parts => _parts ?? Interlocked.CompareExchange(ref _parts, new Part[Count], null) ?? _parts;

    private static TensorReport Create(TensorInfo output, string rule) =>
        new() { Name = output.Name, DType = output.DType.SafetensorsName, Shape = output.Shape.Dimensions.ToArray(), Rule = rule };

    private struct Part
    {
        public TensorReport? Report;
        public double[]? Weights, Sent;
        public UpdateStatistics? Statistics;
    }

    private sealed class Rows(IReadOnlyList<RoundClient> clients, Part part) : IReadOnlyList<TensorClientReport>
    {
        public int Count => clients.Count;

        public TensorClientReport this[int index] => new()
        {
            Id = clients[index].Id,
            Weight = part.Weights is null ? clients[index].Share : NumberOrNull(part.Weights[index]),
            Score = part.Weights?.Length > Count ? NumberOrNull(part.Weights[Count + index]) : null,
            Norm = part.Statistics?.Norms[index],
            UpdateNorm = part.Statistics?.UpdateNorms[index],
            Cosine = part.Statistics?.Cosines[index],
            ShareSent = part.Sent?[index] ?? 1,
        };

        public IEnumerator<TensorClientReport> GetEnumerator() => Enumerable.Range(0, Count).Select(k => this[k]).GetEnumerator();

        IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

        private static double? NumberOrNull(double value) => double.IsNaN(value) ? null : value;
    }
}
