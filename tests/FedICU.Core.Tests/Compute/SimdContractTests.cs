using FedICU.Compute;

namespace FedICU.Tests.Compute;

/// <summary>The contract at every register width, emulated if the CPU lacks it.</summary>
[TestFixture(512)]
[TestFixture(256)]
[TestFixture(128)]
[Parallelizable(ParallelScope.Self)]
public sealed class SimdContractTests(int width) : BackendContractTests(() => new SimdBackend(width));
