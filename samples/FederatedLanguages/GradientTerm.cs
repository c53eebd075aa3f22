namespace FederatedLanguages;

/// <summary>
/// Adds a term to a matrix's gradient, computed from the current weights and the received weights (FedProx's proximal
/// term).
/// </summary>
internal delegate double GradientTerm(ReadOnlySpan<float> weights, ReadOnlySpan<float> received, Span<float> gradient);
