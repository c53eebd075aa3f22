namespace FedICU.Compute;

/// <summary>
/// A device's backend that computes <see cref="IComputeBackend.MiddleMean"/> and
/// <see cref="IComputeBackend.AddPairDistances"/> on the CPU. Reports count them as the CPU's work.
/// </summary>
internal interface IPartialDevice;
