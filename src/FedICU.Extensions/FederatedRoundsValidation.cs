using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Options;

namespace FedICU.Extensions;

/// <summary>Validates the options of a server's rounds when the host starts.</summary>
internal sealed class FederatedRoundsValidation(IServiceProvider services) : IValidateOptions<FederatedRoundsOptions>
{
    public ValidateOptionsResult Validate(string? name, FederatedRoundsOptions options)
    {
        List<string> errors = [.. options.Faults];
        if (string.IsNullOrEmpty(options.Folder))
            errors.Add("The folder of the rounds is missing; a path was expected.");
        if (options.InitialModel is "")
            errors.Add("The initial model is empty; a path was expected.");
        errors.AddRange(options.CreateCollectorOptions(TimeProvider.System).ListErrors());
        if (options.LastRound is < 1)
            errors.Add($"The last round is {options.LastRound}; at least 1 was expected.");
        if (options.MaxUpdateBytes is < 1)
            errors.Add($"The most bytes of an update are {options.MaxUpdateBytes}; at least 1 was expected.");
        if (options.KeptModels < 1)
            errors.Add($"The number of kept models is {options.KeptModels}; at least 1 was expected.");
        if (options.ListedRounds < 1)
            errors.Add($"The number of listed rounds is {options.ListedRounds}; at least 1 was expected.");
        if (options.RetryDelay <= TimeSpan.Zero)
            errors.Add($"The delay before a retry is {options.RetryDelay}; more than 0 was expected.");
        CheckAggregator(options.Aggregator, errors);
        return errors.Count == 0 ? ValidateOptionsResult.Success : ValidateOptionsResult.Fail(errors.Select(error => $"Rounds: {error}"));
    }

    private void CheckAggregator(string? name, List<string> errors)
    {
        bool exists = services.GetRequiredService<IServiceProviderIsKeyedService>() is var known && name is null
            ? known.IsService(typeof(ConfiguredRound))
            : known.IsKeyedService(typeof(ConfiguredRound), name);
        if (!exists)
        {
            errors.Add(name is null
                ? "There is no aggregator without a name; AddFedIcu adds one."
                : $"The aggregator '{name}' is unknown; AddFedIcu(\"{name}\", ...) adds it.");
            return;
        }

        string? state = services.GetRequiredService<IOptionsMonitor<FedIcuHostOptions>>().Get(name ?? Options.DefaultName).State;
        if (state is not null)
            errors.Add($"The aggregator's state is '{state}'; the rounds keep the state beside the models, so none was expected.");
    }
}
