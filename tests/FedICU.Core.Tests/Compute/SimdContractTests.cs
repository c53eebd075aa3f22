using FedICU.Compute;

namespace FedICU.Tests.Compute;

/// <summary>
/// The contract at every register width, emulated if the CPU lacks it. <see cref="SimdBackendTests"/> compares the bits
/// of the widths; every shape at every width is of the category Exhaustive, which .ci/run adds.
/// </summary>
[TestFixture(512, false)]
[TestFixture(512, true, Explicit = true, Category = "Exhaustive")]
[TestFixture(256, true, Explicit = true, Category = "Exhaustive")]
[TestFixture(128, true, Explicit = true, Category = "Exhaustive")]
[Parallelizable(ParallelScope.Self)]
public sealed class SimdContractTests(int width, bool everyShape) : BackendContractTests(() => new SimdBackend(width), everyShape);
