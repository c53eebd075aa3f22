using FedICU.Compute;

namespace FedICU.Tests.Compute;

/// <summary>The contract of the reference, in particular its known answers.</summary>
[Parallelizable(ParallelScope.Self)]
public sealed class ReferenceContractTests() : BackendContractTests(() => ReferenceBackend.Instance, everyShape: false);
