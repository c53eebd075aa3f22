namespace FedICU;

/// <summary>An update in a session, with its place in the order of arrival.</summary>
/// <param name="Number">
/// The number of the arrival: 1 for the first update in the session. The number of a retracted update is not used
/// again.
/// </param>
/// <param name="Update">The copy in the session's folder.</param>
/// <param name="InTime">
/// False if the update came after the round was closed. It stays in the session and is not part of the round.
/// </param>
public sealed record SessionArrival(long Number, ClientUpdate Update, bool InTime);
