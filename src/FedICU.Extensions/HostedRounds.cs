using FedICU.Compute;
using FedICU.Text;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Options;

namespace FedICU.Extensions;

/// <summary>
/// Creates aggregators from options and the container's backends, and validates them when the host starts.
/// </summary>
internal sealed class HostedRounds(IServiceProvider services) : IValidateOptions<FedIcuHostOptions>
{
    public ConfiguredRound Create(string name)
    {
        FedIcuHostOptions options = services.GetRequiredService<IOptionsMonitor<FedIcuHostOptions>>().Get(name);
        List<string> errors = [];
        return Create(options, errors) ?? throw new InvalidOptionsException(errors);
    }

    /// <summary>Creates the place of the rule's state; null if the rule keeps none.</summary>
    public RoundState? CreateState(string name)
    {
        string? key = name.Length == 0 ? null : name;
        if (!services.GetRequiredKeyedService<ConfiguredRound>(key).Aggregator.KeepsState)
            return null;
        string? path = services.GetRequiredService<IOptionsMonitor<FedIcuHostOptions>>().Get(name).State;
        return path is null ? RoundState.InMemory() : RoundState.InFile(path);
    }

    public ValidateOptionsResult Validate(string? name, FedIcuHostOptions options)
    {
        List<string> errors = [.. options.Faults];
        Create(options, errors);
        if (errors.Count == 0)
            return ValidateOptionsResult.Success;
        return ValidateOptionsResult.Fail(string.IsNullOrEmpty(name) ? errors : errors.Select(error => $"Aggregator '{name}': {error}"));
    }

    private ConfiguredRound? Create(FedIcuHostOptions options, List<string> errors)
    {
        DType? output = null;
        if (options.DType is { } type)
        {
            if (DTypeExtensions.TryParseSafetensorsName(type.ToUpperInvariant(), out DType dtype) && dtype.IsComputed)
                output = dtype;
            else
                errors.Add($"The dtype '{type}' is unknown; f32, f16, bf16 or f64 was expected.");
        }

        StrategyRegistry registry = services.GetRequiredService<StrategyRegistry>();
        if (options.Strategy is null)
            errors.Add($"The strategy is missing; {string.Join(", ", registry.Names)} are known.");
        if (options.State is "")
            errors.Add("The state is empty; a path was expected.");
        ConfiguredRound? round = null;
        try
        {
            var defaults = new RoundOptions
            {
                OutputDType = output,
                Threads = options.Threads,
                Statistics = options.Statistics,
                Backend = TryFindBackend(options.Backend, errors),
            };
            if (options.Strategy is { } strategy)
                round = registry.Create(strategy, options.Settings, defaults);
            if (options.State is { Length: > 0 } path && round is { Aggregator.KeepsState: false })
                errors.Add($"The state is {Sentence.Quote(path)}, but '{options.Strategy}' keeps no state between rounds.");
        }
        catch (InvalidOptionsException e)
        {
            errors.AddRange(e.Errors);
        }
        catch (FedIcuException e)
        {
            // a requested device that is missing
            errors.Add(e.Message);
        }

        return errors.Count == 0 ? round : null;
    }

    private IComputeBackend? TryFindBackend(string? name, List<string> errors)
    {
        try
        {
            return FindBackend(name, errors);
        }
        catch (Exception e) when (e is not FedIcuException)
        {
            // a failing factory of the host or a missing driver: reported together with all other errors
            errors.Add($"The backend{(name is null ? "" : $" '{name}'")} cannot be created ({e.GetType().Name}): {e.Message}");
            return null;
        }
    }

    // Searches by key first, so that only the requested backend is created: creating one can start a device.
    private IComputeBackend? FindBackend(string? name, List<string> errors)
    {
        if (name is null)
            return services.GetService<IComputeBackend>() ?? services.GetRequiredService<SimdBackend>();
        IComputeBackend? named = services.GetKeyedService<IComputeBackend>(name) ?? name switch
        {
            "simd" => services.GetRequiredService<SimdBackend>(),
            "reference" => ReferenceBackend.Instance,
            _ => services.GetServices<IComputeBackend>().FirstOrDefault(backend => backend.Name == name),
        };
        if (named is null)
            errors.Add($"The backend '{name}' is unknown; simd, reference and the IComputeBackend services of the container are known.");
        return named;
    }
}
