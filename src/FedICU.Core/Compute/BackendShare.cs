namespace FedICU;

/// <summary>A backend's share of a round's work.</summary>
/// <param name="Name">
/// The backend's name. If the round's backend is a device, <c>simd</c> is the work that the CPU did.
/// </param>
/// <param name="Share">
/// The bytes of inputs that it computed with, divided by those of all backends. An input that is read twice counts
/// twice.
/// </param>
public sealed record BackendShare(string Name, double Share);
