namespace FedICU;

/// <summary>A client that takes part in the round.</summary>
/// <param name="Id">Its id.</param>
/// <param name="Weight">Its weight, greater than zero.</param>
/// <param name="Share">Its weight over the sum of all weights: p_k.</param>
public sealed record RoundClient(string Id, double Weight, double Share);
