using FedICU.Files;
using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace FedICU.Fedn;

/// <summary>A health check that passes if the spool can be written.</summary>
internal sealed class SpoolHealthCheck(Spool spool) : IHealthCheck
{
    /// <inheritdoc/>
    public async Task<HealthCheckResult> CheckHealthAsync(HealthCheckContext context, CancellationToken cancellationToken = default)
    {
        string probe = Path.Combine(spool.Rounds, $"probe-{Guid.NewGuid():n}");
        try
        {
            await File.WriteAllBytesAsync(probe, new byte[1], cancellationToken);
            File.Delete(probe);
            return HealthCheckResult.Healthy();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return HealthCheckResult.Unhealthy($"The spool cannot be written: {FileFailure.Describe(e)}.");
        }
    }
}
