using FedICU.Compute;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace FedICU.Extensions;

/// <summary>Reports the result of verifying an aggregator's backend.</summary>
internal sealed class BackendHealthCheck(IServiceProvider services, string? aggregator) : IHealthCheck
{
    public async Task<HealthCheckResult> CheckHealthAsync(HealthCheckContext context, CancellationToken cancellationToken = default)
    {
        HealthStatus failure = context.Registration.FailureStatus;
        try
        {
            // resolved here and not in the constructor: the health service does not catch what a constructor throws
            IComputeBackend backend = services.GetRequiredKeyedService<RoundOptions>(aggregator).Backend!;
            VerificationResult verdict = await services.GetRequiredService<BackendVerdicts>().Get(backend)
                .WaitAsync(cancellationToken).ConfigureAwait(false);
            string[] faults = [.. verdict.Rows.Where(row => !row.Passed).Select(row => $"{row.Verb} {row.DType.SafetensorsName}")];
            if (faults.Length == 0)
                return HealthCheckResult.Healthy($"The backend '{backend.Name}' keeps the contract in all {verdict.Rows.Count} trials.");
            string summary = $"breaks the contract in {faults.Length} of {verdict.Rows.Count} trials";
            return new HealthCheckResult(failure, $"The backend '{backend.Name}' {summary}: {string.Join(", ", faults)}.");
        }
        catch (Exception e) when (!cancellationToken.IsCancellationRequested)
        {
            // a cancellation that the caller did not request is a fault of the backend too
            return new HealthCheckResult(failure, e.Message, e);
        }
    }
}
