using System.Collections.Concurrent;
using FedICU.Compute;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace FedICU.Extensions;

/// <summary>Reports what the verification of an aggregator's backend found.</summary>
internal sealed class BackendHealthCheck(IServiceProvider services, string? aggregator) : IHealthCheck
{
    public async Task<HealthCheckResult> CheckHealthAsync(HealthCheckContext context, CancellationToken cancellationToken = default)
    {
        HealthStatus failure = context.Registration.FailureStatus;
        try
        {
            // here and not in the check's making: what that throws no report catches
            IComputeBackend backend = services.GetRequiredKeyedService<RoundOptions>(aggregator).Backend!;
            VerificationResult verdict = await services.GetRequiredService<BackendVerdicts>().Of(backend).WaitAsync(cancellationToken).ConfigureAwait(false);
            string[] faults = [.. verdict.Rows.Where(row => !row.Passed).Select(row => $"{row.Verb} {row.DType.SafetensorsName}")];
            return faults.Length == 0
                ? HealthCheckResult.Healthy($"The backend '{backend.Name}' keeps the contract in all {verdict.Rows.Count} trials.")
                : new HealthCheckResult(failure, $"The backend '{backend.Name}' breaks the contract in {faults.Length} of {verdict.Rows.Count} trials: {string.Join(", ", faults)}.");
        }
        catch (Exception e) when (!cancellationToken.IsCancellationRequested)
        {
            // a cancellation that nobody asked for is the backend's fault too
            return new HealthCheckResult(failure, e.Message, e);
        }
    }
}

/// <summary>
/// The verdicts on the host's backends: each is tried once, on the first request, which may give up waiting.
/// </summary>
internal sealed class BackendVerdicts
{
    private readonly ConcurrentDictionary<IComputeBackend, Lazy<Task<VerificationResult>>> _verdicts = new(ReferenceEqualityComparer.Instance);

    public Task<VerificationResult> Of(IComputeBackend backend) =>
        _verdicts.GetOrAdd(backend, static backend => new(() => Task.Run(() => BackendVerification.Run(backend, quick: true)))).Value;
}
