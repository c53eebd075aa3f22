using FedICU.Extensions;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace Microsoft.Extensions.DependencyInjection;

/// <summary>Adds the health check of an aggregator's backend.</summary>
public static class FedIcuHealthChecksBuilderExtensions
{
    /// <summary>
    /// Adds a check of an aggregator's backend. The aggregator's options must be valid. Every verb, in every type, must
    /// agree with the float64 reference on a few lengths and shapes. A backend is verified once in the host's life, at
    /// the first check; later checks repeat the result.
    /// </summary>
    /// <param name="builder">The host's health checks.</param>
    /// <param name="aggregator">The aggregator's name, or null for the aggregator without a name.</param>
    /// <param name="failureStatus">The status of a faulty backend; null means unhealthy.</param>
    /// <param name="tags">Tags to filter checks by.</param>
    /// <returns>
    /// The builder. The check's name is <c>fedicu</c>, or <c>fedicu-</c> followed by the aggregator's name.
    /// </returns>
    public static IHealthChecksBuilder AddFedIcu(
        this IHealthChecksBuilder builder, string? aggregator = null, HealthStatus? failureStatus = null, IEnumerable<string>? tags = null)
    {
        ArgumentNullException.ThrowIfNull(builder);
        builder.Services.TryAddSingleton<BackendVerdicts>();
        string name = aggregator is null ? "fedicu" : $"fedicu-{aggregator}";
        return builder.Add(new HealthCheckRegistration(
            name, services => new BackendHealthCheck(services, aggregator), failureStatus, tags));
    }
}
