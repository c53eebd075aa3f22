using FedICU.Compute;

namespace FedICU;

/// <summary>
/// How far the clients' updates point the same way: the cosine of each two, over all float tensors that are merged, as
/// the clients sent them.
/// </summary>
/// <param name="Clients">The ids of the N clients that the round began with.</param>
/// <param name="Cosines">
/// N (N - 1) / 2 numbers from -1 to 1: of the pairs j &lt; k with k = 1, then with k = 2, and so on. The cosine to an
/// update of norm 0 is 0.
/// </param>
public sealed record ClientSimilarities(IReadOnlyList<string> Clients, IReadOnlyList<double> Cosines)
{
    /// <summary>Gets the cosine of two clients' updates; 1 for a client and itself.</summary>
    /// <param name="j">The index of one client in <see cref="Clients"/>.</param>
    /// <param name="k">The index of the other; the order has no effect.</param>
    /// <exception cref="ArgumentOutOfRangeException">An index is not that of a client.</exception>
    public double this[int j, int k]
    {
        get
        {
            ArgumentOutOfRangeException.ThrowIfNegative(Math.Min(j, k), nameof(j));
            ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(Math.Max(j, k), Clients.Count, nameof(k));
            return j == k ? 1 : Cosines[GramPairs.Index(Math.Min(j, k), Math.Max(j, k) - 1)];
        }
    }

    /// <summary>Gets whether there is one cosine for each pair of clients.</summary>
    internal bool IsComplete => Cosines.Count == (long)Clients.Count * (Clients.Count - 1) / 2;
}
