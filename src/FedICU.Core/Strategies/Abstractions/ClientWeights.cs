using FedICU.Text;

namespace FedICU;

/// <summary>
/// What a <see cref="ClientWeighting"/> decides, by the clients' indices in <see cref="RoundPlan.Clients"/>.
/// </summary>
public sealed class ClientWeights
{
    private readonly double[] _weights, _factors;
    private readonly bool[] _chosen;

    internal ClientWeights(IReadOnlyList<RoundClient> clients)
    {
        _weights = [.. clients.Select(client => client.MergeWeight)];
        _factors = [.. clients.Select(client => client.Factor)];
        _chosen = new bool[clients.Count];
        Array.Fill(_chosen, true);
    }

    /// <summary>
    /// Gets the weights of the clients in the merge, not negative, and not all 0. They need not sum to one. To leave
    /// the global model as it is, set all <see cref="Factors"/> to 0.
    /// </summary>
    public Span<double> Weights => _weights;

    /// <summary>Gets the factors f_k of the updates, finite: the merge sees x + f_k d_k.</summary>
    public Span<double> Factors => _factors;

    /// <summary>Lets all clients weigh the same in the merge, or as they did.</summary>
    /// <returns>The weights w_k over their sum.</returns>
    internal double[] Weigh(Weighting weighting)
    {
        if (weighting == Weighting.Uniform)
            Array.Fill(_weights, 1);
        double total = _weights.Sum();
        return [.. _weights.Select(weight => weight / total)];
    }

    /// <summary>Leaves all other clients out of the merge, also for integer tensors.</summary>
    /// <param name="clients">The indices of the clients that stay, at least one.</param>
    public void Choose(params ReadOnlySpan<int> clients)
    {
        if (clients.IsEmpty)
            throw new ArgumentException("At least one client must be chosen.", nameof(clients));
        Array.Clear(_chosen);
        foreach (int client in clients)
            _chosen[client] = true;
    }

    /// <summary>Gets whether a client takes part in the merge.</summary>
    /// <param name="client">The client's index.</param>
    public bool IsChosen(int client) => _chosen[client];

    /// <summary>Applies the decisions.</summary>
    /// <param name="rule">The rule's name, for messages.</param>
    /// <param name="clients">The clients before the decisions.</param>
    /// <param name="namesClients">Whether a message may say something of a single client.</param>
    /// <returns>The clients that take part, with their shares of the remaining weights n_k.</returns>
    /// <exception cref="RoundRejectedException">A weight or a factor is not finite, or all weights are 0.</exception>
    internal RoundClient[] Apply(string rule, IReadOnlyList<RoundClient> clients, bool namesClients)
    {
        double total = 0, sum = 0;
        for (int k = 0; k < _chosen.Length; k++)
        {
            if (!(_weights[k] >= 0 && double.IsFinite(_weights[k]) && double.IsFinite(_factors[k])))
            {
                string found = namesClients
                    ? $"gave client {Sentence.Quote(clients[k].Id)} the weight {Numbers.Invariant(_weights[k])} " +
                        $"and the factor {Numbers.Invariant(_factors[k])}"
                    : "gave a client a weight or a factor that is not finite";
                throw RoundPlan.Refuse(
                    $"{Sentence.Quote(rule)} {found}; a finite weight of at least 0 and a finite factor were expected.");
            }

            total += _chosen[k] ? clients[k].Weight : 0;
            sum += _chosen[k] ? _weights[k] : 0;
        }

        if (!(sum > 0 && double.IsFinite(sum)))
        {
            throw RoundPlan.Refuse(
                $"{Sentence.Quote(rule)} gave the clients weights whose sum is {Numbers.Invariant(sum)}; " +
                "a finite sum above 0 was expected.");
        }

        return
        [
            .. clients.Where((_, k) => _chosen[k]).Select(client => client with { Share = client.Weight / total })
                .Zip(Enumerable.Range(0, _chosen.Length).Where(k => _chosen[k]),
                    (client, k) => client with { MergeWeight = _weights[k], Factor = _factors[k] }),
        ];
    }
}
