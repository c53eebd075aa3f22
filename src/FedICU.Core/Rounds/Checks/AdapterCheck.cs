using FedICU.Files.Adapters;
using FedICU.Rounds.Lora;
using FedICU.Text;

namespace FedICU.Rounds.Checks;

/// <summary>
/// Checks that all adapters of a round have the same settings: in <c>adapter_config.json</c>, or in alpha tensors.
/// </summary>
internal sealed class AdapterCheck(RoundCheck check, AggregationRound round, bool mixesRanks)
{
    private readonly RoundOptions _options = round.Options;

    /// <summary>
    /// The configuration that the round's adapters share; null if neither the global model nor a client has one.
    /// </summary>
    public PeftAdapterConfig? Config { get; private set; }

    private FaultPolicy Policy => _options.OnConfig == ConfigPolicy.DropClient ? FaultPolicy.DropClient : FaultPolicy.Reject;

    /// <summary>Compares the clients' <c>adapter_config.json</c> with the expected one.</summary>
    public void CheckConfigs()
    {
        if (FindExpectedConfig() is not { } expected)
            return;
        Config = expected.Config;
        bool ignoreBase = _options.OnConfig == ConfigPolicy.IgnoreBase;
        foreach (Participant participant in check.Included.ToList())
        {
            if (Compare(participant.AdapterConfig, expected.Config, ignoreBase) is { } difference)
            {
                check.ApplyPolicy(Policy, RoundFault.Config, participant, null,
                    $"{participant.NameWithFile}: its adapter_config.json disagrees with {expected.Owner}: {difference}.");
            }
        }

        // a packed update is one file and never has a configuration
        Participant[] without =
            [.. check.Included.Where(participant => participant.AdapterConfig is null && participant.Kind != UpdateKind.Sparse)];
        if (without.Length == 0)
            return;
        string more = without.Length > 1 ? $" and {without.Length - 1} more" : "";
        bool othersHaveOne = check.Included.Any(participant => participant.AdapterConfig is not null);
        check.Notes.Add($"{without[0].NameWithFile}{more} came without the adapter_config.json that " +
            $"{(othersHaveOne ? "others have" : "the global adapter has")}: there was nothing to compare.");
    }

    /// <summary>
    /// Compares the clients' alpha tensors with the global model's: kohya's files keep there what an adapter folder
    /// keeps in its configuration.
    /// </summary>
    public void CheckAlphas()
    {
        // other alphas are other scalings, which a rule of mixed ranks reads
        if (mixesRanks)
            return;
        foreach (TensorInfo tensor in LoraAlphas.Find(round.Global))
        {
            double? expected = LoraAlphas.Read(round.Global, tensor);
            foreach (Participant participant in check.Included.Where(participant => participant.Kind != UpdateKind.Delta).ToList())
                CheckAlpha(participant, tensor, expected);
        }
    }

    private string? Compare(PeftAdapterConfig? config, PeftAdapterConfig expected, bool ignoreBase) =>
        config is null ? null : ConfigComparison.DescribeDisagreement(config, expected, ignoreBase, MixesRanks(config));

    private bool MixesRanks(PeftAdapterConfig config) => mixesRanks && config.IsLora;

    private void CheckAlpha(Participant participant, TensorInfo tensor, double? expected)
    {
        // the tensors' check handles an alpha that is missing, has another shape or is packed
        if (participant.Find(tensor.Name) is not { ElementCount: 1 } own || participant.IsPacked(own))
            return;
        try
        {
            double? found = LoraAlphas.Read(participant.Source, own);
            if (found is { } sent && expected is { } alpha && sent != alpha && double.IsFinite(sent))
            {
                check.ApplyPolicy(Policy, RoundFault.Config, participant, tensor.Name,
                    $"{participant.NameWithFile}: {Sentence.Quote(tensor.Name)} is {Numbers.Invariant(sent)}; " +
                    $"the global model's {Numbers.Invariant(alpha)} was expected.");
            }
        }
        catch (InvalidModelException e)
        {
            check.ApplyFilePolicy(participant, e);
        }
    }

    /// <summary>
    /// Finds the configuration that all adapters must have: the global adapter's, else the clients'. If clients may be
    /// dropped, the configuration of most clients counts, so that no single client decides.
    /// </summary>
    private (PeftAdapterConfig Config, string Owner)? FindExpectedConfig()
    {
        if (round.Global.AdapterConfig is { } global)
            return (global, "the global adapter's");
        List<Participant> adapters = [.. check.Included.Where(participant => participant.AdapterConfig is not null)];
        if (adapters.Count == 0)
            return null;
        if (_options.OnConfig != ConfigPolicy.DropClient)
            return (adapters[0].AdapterConfig!, $"that of client {Sentence.Quote(adapters[0].Id)}");
        // groups come in the order of their first clients; MaxBy takes the first of the largest groups
        List<Participant> most = adapters
            .GroupBy(participant => participant.AdapterConfig!.DecidingKey(MixesRanks(participant.AdapterConfig)), StringComparer.Ordinal)
            .Select(group => group.ToList()).MaxBy(group => group.Count)!;
        string others = most.Count > 1 ? $" and {Sentence.Count(most.Count - 1, "other")}" : "";
        return (most[0].AdapterConfig!, $"that of client {Sentence.Quote(most[0].Id)}{others}");
    }
}
