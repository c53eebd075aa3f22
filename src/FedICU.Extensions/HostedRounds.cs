using FedICU.Compute;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Options;

namespace FedICU.Extensions;

/// <summary>Makes aggregators of options and the container's backends, and finds at the host's start what is wrong with them.</summary>
internal sealed class HostedRounds(IServiceProvider services) : IValidateOptions<FedIcuHostOptions>
{
    public ConfiguredRound Create(string name)
    {
        FedIcuHostOptions options = services.GetRequiredService<IOptionsMonitor<FedIcuHostOptions>>().Get(name);
        List<string> errors = [];
        return Create(options, errors) ?? throw new InvalidOptionsException(errors);
    }

    public ValidateOptionsResult Validate(string? name, FedIcuHostOptions options)
    {
        List<string> errors = [.. options.Faults];
        Create(options, errors);
        // of several aggregators, which one
        return errors.Count == 0 ? ValidateOptionsResult.Success
            : ValidateOptionsResult.Fail(string.IsNullOrEmpty(name) ? errors : errors.Select(error => $"Aggregator '{name}': {error}"));
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

        if (options.Strategy is null)
            errors.Add($"The strategy is missing; {string.Join(", ", AggregatorCatalog.Names)} are known.");
        ConfiguredRound? round = null;
        try
        {
            var defaults = new RoundOptions { OutputDType = output, Threads = options.Threads, Statistics = options.Statistics, Backend = Backend(options.Backend, errors) };
            if (options.Strategy is { } strategy)
                round = AggregatorCatalog.Create(strategy, options.Settings, defaults);
        }
        catch (InvalidOptionsException e)
        {
            errors.AddRange(e.Errors);
        }
        catch (FedIcuException e)
        {
            // a device that was named and is not there
            errors.Add(e.Message);
        }

        return errors.Count == 0 ? round : null;
    }

    private IComputeBackend? Backend(string? name, List<string> errors)
    {
        try
        {
            return FindBackend(name, errors);
        }
        catch (Exception e) when (e is not FedIcuException)
        {
            // a factory of the host's, a driver that is not there: told with all else that is wrong
            errors.Add($"The backend{(name is null ? "" : $" '{name}'")} cannot be made ({e.GetType().Name}): {e.Message}");
            return null;
        }
    }

    // by key first, so that a backend that is not asked for is not made: to make one can be to start a device
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
