using FedICU;
using FedICU.Compute;
using FedICU.Extensions;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Options;

namespace Microsoft.Extensions.DependencyInjection;

/// <summary>
/// Registers aggregators and their rounds' options as singleton services. Their configuration is validated when the
/// host starts.
/// </summary>
/// <remarks>
/// Each call registers an <see cref="IAggregator"/>, its <see cref="RoundOptions"/>, and both as a
/// <see cref="ConfiguredRound"/>. Invalid options fail the host's start with an
/// <see cref="OptionsValidationException"/>, whose failures are the library's error messages.
/// </remarks>
public static class FedIcuServiceCollectionExtensions
{
    /// <summary>Adds the aggregator that a section of the configuration describes.</summary>
    /// <param name="services">The host's services.</param>
    /// <param name="section">
    /// The section, which uses the names of <see cref="FedIcuHostOptions"/> and is read once.
    /// </param>
    public static IServiceCollection AddFedIcu(this IServiceCollection services, IConfiguration section) =>
        services.AddNamed(Options.Options.DefaultName, section);

    /// <summary>Adds an aggregator.</summary>
    /// <param name="services">The host's services.</param>
    /// <param name="configure">Sets the aggregator's options.</param>
    public static IServiceCollection AddFedIcu(this IServiceCollection services, Action<FedIcuHostOptions> configure) =>
        services.AddNamed(Options.Options.DefaultName, configure);

    /// <summary>
    /// Adds the aggregator that a section of the configuration describes, as keyed services:
    /// <c>[FromKeyedServices("lora")] IAggregator</c>.
    /// </summary>
    /// <param name="services">The host's services.</param>
    /// <param name="name">The services' key, which is also the name of the options.</param>
    /// <param name="section">
    /// The section, which uses the names of <see cref="FedIcuHostOptions"/> and is read once.
    /// </param>
    public static IServiceCollection AddFedIcu(this IServiceCollection services, string name, IConfiguration section)
    {
        ArgumentException.ThrowIfNullOrEmpty(name);
        return services.AddNamed(name, section);
    }

    /// <summary>Adds an aggregator as keyed services: <c>[FromKeyedServices("lora")] IAggregator</c>.</summary>
    /// <param name="services">The host's services.</param>
    /// <param name="name">The services' key, which is also the name of the options.</param>
    /// <param name="configure">Sets the aggregator's options.</param>
    public static IServiceCollection AddFedIcu(this IServiceCollection services, string name, Action<FedIcuHostOptions> configure)
    {
        ArgumentException.ThrowIfNullOrEmpty(name);
        return services.AddNamed(name, configure);
    }

    private static IServiceCollection AddNamed(this IServiceCollection services, string name, IConfiguration section)
    {
        ArgumentNullException.ThrowIfNull(section);
        return services.AddNamed(name, options => options.Read(section));
    }

    private static IServiceCollection AddNamed(this IServiceCollection services, string name, Action<FedIcuHostOptions> configure)
    {
        ArgumentNullException.ThrowIfNull(services);
        ArgumentNullException.ThrowIfNull(configure);
        services.AddOptions<FedIcuHostOptions>(name).Configure(configure).ValidateOnStart();
        services.TryAddSingleton<SimdBackend>(_ => new SimdBackend());
        services.TryAddSingleton<HostedRounds>();
        services.TryAddEnumerable(ServiceDescriptor.Singleton<IValidateOptions<FedIcuHostOptions>, HostedRounds>());
        // services with the key null are registered without a key
        string? key = name.Length == 0 ? null : name;
        services.TryAddKeyedSingleton(key, (provider, _) => provider.GetRequiredService<HostedRounds>().Create(name));
        services.TryAddKeyedSingleton(key, (provider, _) => provider.GetRequiredKeyedService<ConfiguredRound>(key).Aggregator);
        services.TryAddKeyedSingleton(key, (provider, _) => provider.GetRequiredKeyedService<ConfiguredRound>(key).Options);
        return services;
    }
}
