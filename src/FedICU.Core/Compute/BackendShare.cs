namespace FedICU;

/// <summary>A backend's part in a round's work.</summary>
/// <param name="Name">The backend's name. <c>simd</c> stands for the CPU wherever a device is the round's backend.</param>
/// <param name="Share">The bytes of inputs it computed with, over those of all backends. An input that is read twice counts twice.</param>
public sealed record BackendShare(string Name, double Share);
