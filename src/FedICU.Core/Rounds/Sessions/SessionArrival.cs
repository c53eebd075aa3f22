using FedICU.Rounds.Sessions;

namespace FedICU;

/// <summary>An update in a session, with its place in the order of arrival.</summary>
/// <param name="Number">
/// The number of the arrival: 1 for the first update in the session. The number of a retracted update is not used
/// again.
/// </param>
/// <param name="Update">The copy in the session's folder.</param>
public sealed record SessionArrival(long Number, ClientUpdate Update)
{
    /// <summary>The checksum of the copy's bytes; null if the copy is damaged.</summary>
    internal string? Digest { get; init; }

    /// <summary>Whether a journal's line describes the same bytes and statements of the same client.</summary>
    internal bool IsSameAs(JournalLine line) =>
        Digest == line.Digest && Update.Id == line.Add && Update.Weight == line.Weight && Update.Kind == line.Kind &&
        Update.BaseDigest == line.Base && Update.Statements == (line.States ?? new ClientStatements());
}
