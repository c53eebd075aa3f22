using FedICU.Tests.Compute;

namespace FedICU.Gpu.Tests;

/// <summary>
/// Runs the contract of all backends on PoCL's OpenCL device, with chunks so small that verbs need many.
/// </summary>
internal sealed class PoclContractTests() : BackendContractTests(() => Pocl.CreateBackend(chunkBytes: 64 << 10), everyShape: true);
