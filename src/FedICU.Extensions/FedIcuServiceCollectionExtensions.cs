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
/// <see cref="ConfiguredRound"/>. If the rule keeps a state between rounds, its <see cref="RoundState"/> is a service
/// too; otherwise that service is null. Strategies are found in the container's <see cref="StrategyRegistry"/>, which
/// <see cref="AddStrategy(IServiceCollection, StrategyDescription)"/> adds to. Invalid options fail the host's start
/// with an <see cref="OptionsValidationException"/>, whose failures are the library's error messages.
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

    /// <summary>Adds a strategy that the configuration can name, to the registry of these services.</summary>
    /// <param name="services">The host's services.</param>
    /// <param name="strategy">The strategy.</param>
    /// <exception cref="ArgumentException">The name is taken or is no name.</exception>
    /// <exception cref="InvalidOperationException">The services have a registry of their own making.</exception>
    public static IServiceCollection AddStrategy(this IServiceCollection services, StrategyDescription strategy)
    {
        services.GetRegistry().Add(strategy);
        return services;
    }

    /// <summary>Adds a strategy that the configuration can name, to the registry of these services.</summary>
    /// <param name="services">The host's services.</param>
    /// <param name="name">The name: lower-case letters, digits and hyphens.</param>
    /// <param name="summary">What the strategy does, in one sentence.</param>
    /// <param name="paper">Where it is from: authors and year; empty if it has no paper.</param>
    /// <param name="read">Reads the options, and returns a function that creates the stages.</param>
    /// <exception cref="ArgumentException">The name is taken or is no name.</exception>
    /// <exception cref="InvalidOperationException">The services have a registry of their own making.</exception>
    public static IServiceCollection AddStrategy(
        this IServiceCollection services, string name, string summary, string paper, Func<OptionReader, Func<IReadOnlyList<Stage>>> read) =>
        services.AddStrategy(new StrategyDescription(name, summary, paper, read));

    /// <summary>Adds the strategies of a plug-in to the registry of these services.</summary>
    /// <param name="services">The host's services.</param>
    /// <param name="plugin">The plug-in, which is called once.</param>
    /// <exception cref="ArgumentException">A name is taken or is no name.</exception>
    /// <exception cref="InvalidOperationException">The services have a registry of their own making.</exception>
    public static IServiceCollection AddStrategies(this IServiceCollection services, IStrategyPlugin plugin)
    {
        ArgumentNullException.ThrowIfNull(plugin);
        plugin.Register(services.GetRegistry());
        return services;
    }

    /// <summary>Creates a registry of the strategies of FedICU.Core and FedICU.Lora.</summary>
    private static StrategyRegistry CreateRegistry()
    {
        var registry = new StrategyRegistry();
        new LoraStrategies().Register(registry);
        return registry;
    }

    /// <summary>Finds the registry of the services, or adds one.</summary>
    private static StrategyRegistry GetRegistry(this IServiceCollection services)
    {
        ArgumentNullException.ThrowIfNull(services);
        ServiceDescriptor? known = services.LastOrDefault(
            service => service.ServiceType == typeof(StrategyRegistry) && !service.IsKeyedService);
        if (known is null)
            services.Add(known = ServiceDescriptor.Singleton(CreateRegistry()));
        return known.ImplementationInstance as StrategyRegistry ?? throw new InvalidOperationException(
            $"The services create their {nameof(StrategyRegistry)} themselves; add the strategy where it is created.");
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
        services.TryAddSingleton(CreateRegistry());
        services.TryAddSingleton<HostedRounds>();
        services.TryAddEnumerable(ServiceDescriptor.Singleton<IValidateOptions<FedIcuHostOptions>, HostedRounds>());
        // services with the key null are registered without a key
        string? key = name.Length == 0 ? null : name;
        services.TryAddKeyedSingleton(key, (provider, _) => provider.GetRequiredService<HostedRounds>().Create(name));
        services.TryAddKeyedSingleton<IAggregator>(key, (provider, _) => provider.GetRequiredKeyedService<ConfiguredRound>(key).Aggregator);
        services.TryAddKeyedSingleton(key, (provider, _) => provider.GetRequiredKeyedService<ConfiguredRound>(key).Options);
        // null for rules without a state: an optional service
        services.TryAddKeyedSingleton(key, (provider, _) => provider.GetRequiredService<HostedRounds>().CreateState(name)!);
        return services;
    }
}
