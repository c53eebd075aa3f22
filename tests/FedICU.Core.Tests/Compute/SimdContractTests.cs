using FedICU.Compute;

namespace FedICU.Tests.Compute;

/// <summary>
/// The contract at every register width, emulated if the CPU lacks it. <see cref="SimdBackendTests"/> compares the bits
/// of the widths; the whole contract of the narrower ones is of the category Exhaustive, which .ci/run adds.
/// </summary>
[TestFixture(512)]
[TestFixture(256, Explicit = true, Category = "Exhaustive")]
[TestFixture(128, Explicit = true, Category = "Exhaustive")]
[Parallelizable(ParallelScope.Self)]
public sealed class SimdContractTests(int width) : BackendContractTests(() => new SimdBackend(width));
