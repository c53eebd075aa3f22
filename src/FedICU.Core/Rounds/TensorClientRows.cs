using System.Collections;

namespace FedICU;

/// <summary>
/// The clients' rows of a tensor's report, made when they are looked at: kept as they are, those of thousands of clients and hundreds of tensors would take more memory
/// than the round.
/// </summary>
internal sealed class TensorClientRows : IReadOnlyList<TensorClientReport>
{
    private readonly IReadOnlyList<RoundClient> _clients;
    private readonly UpdateStatistics? _statistics;
    // null where each client's weight is its share, where no client has a score, where each sent all
    private readonly double?[]? _weights, _scores;
    private readonly double[]? _shares;

    public TensorClientRows(RoundState state, TensorInfo tensor, double?[] weights, double?[] scores, UpdateStatistics? statistics)
    {
        (_clients, _statistics) = (state.Clients, statistics);
        for (int k = 0; k < weights.Length; k++)
        {
            if (weights[k] != _clients[k].Share)
                _weights = weights;
            if (scores[k] is not null)
                _scores = scores;
        }

        double[] shares = [.. state.Participants.Select(participant => participant.ShareSent(tensor))];
        _shares = Array.TrueForAll(shares, share => share == 1) ? null : shares;
    }

    public int Count => _clients.Count;

    public TensorClientReport this[int index] => new()
    {
        Id = _clients[index].Id,
        Weight = _weights is null ? _clients[index].Share : _weights[index],
        Score = _scores?[index],
        Norm = _statistics?.Norms[index],
        UpdateNorm = _statistics?.UpdateNorms[index],
        Cosine = _statistics?.Cosines[index],
        ShareSent = _shares?[index] ?? 1,
    };

    public IEnumerator<TensorClientReport> GetEnumerator() => Enumerable.Range(0, Count).Select(k => this[k]).GetEnumerator();

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();
}
