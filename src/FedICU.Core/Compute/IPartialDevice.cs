namespace FedICU.Compute;

/// <summary>
/// A device's backend that computes <see cref="IComputeBackend.MiddleMean"/>,
/// <see cref="IComputeBackend.AddPairDistances"/> and <see cref="IComputeBackend.AddDistances"/> on the CPU. Reports
/// count them as the CPU's work.
/// </summary>
internal interface IPartialDevice;
