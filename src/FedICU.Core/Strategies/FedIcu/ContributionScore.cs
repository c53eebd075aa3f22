namespace FedICU;

/// <summary>Returns a client's score, which replaces its similarity; for example from a validation loss.</summary>
/// <param name="clientId">The client's id.</param>
/// <param name="tensor">The tensor's name; null if one set of weights serves the whole model.</param>
/// <returns>A finite score. A larger score weighs more.</returns>
public delegate double ContributionScore(string clientId, string? tensor);
