using FedICU.Extensions;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;

namespace Microsoft.Extensions.DependencyInjection;

/// <summary>Registers the rounds of a server that clients upload to.</summary>
public static class FedIcuRoundsServiceCollectionExtensions
{
    /// <summary>
    /// Adds <see cref="FederatedRounds"/>, which the host starts and stops, with options from a section of the
    /// configuration. The aggregator is one of <c>AddFedIcu</c>. Invalid options fail the host's start.
    /// </summary>
    /// <param name="services">The host's services.</param>
    /// <param name="section">
    /// The section, which uses the names of <see cref="FederatedRoundsOptions"/> and is read once.
    /// </param>
    public static IServiceCollection AddFedIcuRounds(this IServiceCollection services, IConfiguration section)
    {
        ArgumentNullException.ThrowIfNull(section);
        return services.AddFedIcuRounds(options => options.Read(section));
    }

    /// <summary>
    /// Adds <see cref="FederatedRounds"/>, which the host starts and stops. The aggregator is one of <c>AddFedIcu</c>.
    /// Invalid options fail the host's start.
    /// </summary>
    /// <param name="services">The host's services.</param>
    /// <param name="configure">Sets the options.</param>
    public static IServiceCollection AddFedIcuRounds(this IServiceCollection services, Action<FederatedRoundsOptions> configure)
    {
        ArgumentNullException.ThrowIfNull(services);
        ArgumentNullException.ThrowIfNull(configure);
        services.AddOptions<FederatedRoundsOptions>().Configure(configure).ValidateOnStart();
        services.TryAddEnumerable(ServiceDescriptor.Singleton<IValidateOptions<FederatedRoundsOptions>, FederatedRoundsValidation>());
        services.TryAddSingleton(provider => new FederatedRounds(
            provider, provider.GetRequiredService<IOptions<FederatedRoundsOptions>>(),
            provider.GetRequiredService<ILogger<FederatedRounds>>(), provider.GetService<TimeProvider>()));
        services.AddHostedService<FederatedRoundsService>();
        return services;
    }
}
