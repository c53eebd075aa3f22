using FedICU.Extensions;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace Microsoft.Extensions.DependencyInjection;

/// <summary>The health check of an aggregator's backend.</summary>
public static class FedIcuHealthChecksBuilderExtensions
{
    /// <summary>
    /// Checks the backend of an aggregator: its options must hold, and every verb, in every type, must keep the contract against the float64 reference on a few lengths and
    /// shapes. A backend is tried once in the host's life, at the first check; later checks repeat the verdict.
    /// </summary>
    /// <param name="builder">The host's health checks.</param>
    /// <param name="aggregator">The aggregator's name; null: the one without a name.</param>
    /// <param name="failureStatus">What a backend at fault is reported as; null: unhealthy.</param>
    /// <param name="tags">Tags to choose checks by.</param>
    /// <returns>The builder. The check is named <c>fedicu</c>, or <c>fedicu-</c> and the aggregator's name.</returns>
    public static IHealthChecksBuilder AddFedIcu(
        this IHealthChecksBuilder builder, string? aggregator = null, HealthStatus? failureStatus = null, IEnumerable<string>? tags = null)
    {
        ArgumentNullException.ThrowIfNull(builder);
        builder.Services.TryAddSingleton<BackendVerdicts>();
        return builder.Add(new HealthCheckRegistration(
            aggregator is null ? "fedicu" : $"fedicu-{aggregator}", services => new BackendHealthCheck(services, aggregator), failureStatus, tags));
    }
}
