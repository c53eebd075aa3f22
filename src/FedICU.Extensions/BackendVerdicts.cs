using System.Collections.Concurrent;
using FedICU.Compute;

namespace FedICU.Extensions;

/// <summary>
/// Verifies the host's backends, each once. The first request starts the verification, which goes on if the request
/// stops waiting.
/// </summary>
internal sealed class BackendVerdicts
{
    private readonly ConcurrentDictionary<IComputeBackend, Lazy<Task<VerificationResult>>> _verdicts =
        new(ReferenceEqualityComparer.Instance);

    public Task<VerificationResult> Get(IComputeBackend backend) => _verdicts.GetOrAdd(
        backend, static backend => new(() => Task.Run(() => BackendVerification.Run(backend, quick: true)))).Value;
}
