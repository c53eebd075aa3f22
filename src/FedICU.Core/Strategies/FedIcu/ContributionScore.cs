namespace FedICU;

/// <summary>A caller's score of a client's contribution, in place of its similarity: for instance from a validation loss.</summary>
/// <param name="clientId">The client.</param>
/// <param name="tensor">The tensor; null where the granularity is the whole model.</param>
/// <returns>A finite score; larger weighs more.</returns>
public delegate double ContributionScore(string clientId, string? tensor);
