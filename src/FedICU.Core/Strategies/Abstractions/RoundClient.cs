namespace FedICU;

/// <summary>A client that takes part in the round.</summary>
/// <param name="Id">The client's id.</param>
/// <param name="Weight">The client's weight n_k, greater than 0.</param>
/// <param name="Share">The client's share p_k = n_k / sum_j n_j.</param>
public sealed record RoundClient(string Id, double Weight, double Share);
