using FedICU.Text;

namespace FedICU.Extensions;

/// <summary>Leaves clients out of a round whose updates are at fault, with the reason in the report.</summary>
internal static class FaultyClients
{
    /// <summary>Changes the policies that refuse a round for a fault of one client: they drop the client.</summary>
    /// <param name="options">The options of the aggregator.</param>
    /// <param name="quorum">The number of clients that must remain, if the options state none.</param>
    public static RoundOptions Drop(RoundOptions options, int quorum)
    {
        return options with
        {
            Quorum = options.Quorum ?? quorum,
            OnNonFinite = DropFor(options.OnNonFinite),
            OnMissing = DropFor(options.OnMissing),
            OnExtra = DropFor(options.OnExtra),
            OnShape = DropFor(options.OnShape),
            OnDType = DropFor(options.OnDType),
            OnBase = DropFor(options.OnBase),
            OnUnreadable = DropFor(options.OnUnreadable),
            OnWeight = DropFor(options.OnWeight),
            OnStatement = DropFor(options.OnStatement),
            OnChanged = DropFor(options.OnChanged),
            OnConfig = options.OnConfig == ConfigPolicy.Reject ? ConfigPolicy.DropClient : options.OnConfig,
            OnQuantized = options.OnQuantized == QuantizedPolicy.Reject ? QuantizedPolicy.DropClient : options.OnQuantized,
            OnStale = options.OnStale == StalePolicy.Reject ? StalePolicy.DropClient : options.OnStale,
        };

        static FaultPolicy DropFor(FaultPolicy policy) => policy == FaultPolicy.Reject ? FaultPolicy.DropClient : policy;
    }

    /// <summary>Creates the same round without some clients, which the report names.</summary>
    /// <param name="round">The round.</param>
    /// <param name="reasons">By the client's id, why it is left out.</param>
    public static AggregationRound LeaveOut(AggregationRound round, IReadOnlyDictionary<string, string> reasons)
    {
        if (reasons.Count == 0)
            return round;
        var rest = new AggregationRound(round.Global, round.Options);
        foreach (ClientUpdate update in round.Updates)
        {
            rest.Add(reasons.TryGetValue(update.Id, out string? reason)
                ? ClientUpdate.FromFault(update.Id, RoundFault.Unreadable, WithoutName(update.Id, reason))
                : update);
        }

        return rest;
    }

    // the report puts the client's name before the reason
    private static string WithoutName(string id, string reason)
    {
        string name = $"Client {Sentence.Quote(id)}: ";
        return reason.StartsWith(name, StringComparison.Ordinal) ? reason[name.Length..] : reason;
    }
}
