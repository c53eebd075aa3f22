using FedICU.Rounds.Checks;

namespace FedICU.Rounds;

/// <summary>The clients' part of a round's report.</summary>
internal static class ClientReports
{
    /// <summary>Describes every client that was added.</summary>
    public static ClientReport[] Create(RoundCheck check, RoundPlan plan)
    {
        Dictionary<string, double> shares = plan.Clients.ToDictionary(client => client.Id, client => client.Share, StringComparer.Ordinal);
        ILookup<string, long> nonFinite =
            check.NonFinite.ToLookup(counted => counted.Key.Client, counted => counted.Value, StringComparer.Ordinal);
        return [.. check.Participants.Select(Describe)];

        ClientReport Describe(Participant participant) => new()
        {
            Id = participant.Id,
            Weight = participant.Weight,
            Share = shares.GetValueOrDefault(participant.Id),
            Included = participant.Exclusion is null,
            Chosen = shares.ContainsKey(participant.Id),
            Reason = participant.Exclusion,
            Kind = participant.IsOpen ? participant.Kind.Text() : "unknown",
            BytesSent = participant.BytesSent,
            BytesFull = participant.BytesFull,
            NonFinite = nonFinite[participant.Id].Sum(),
        };
    }
}
