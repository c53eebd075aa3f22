namespace FedICU;

/// <summary>An update in a session: which one it was to arrive, and whether it came before the round was closed.</summary>
/// <param name="Number">
/// 1 for the first update that ever arrived in the session. A retracted update keeps its number; its client's next one has a new number.
/// </param>
/// <param name="Update">The copy in the session's folder.</param>
/// <param name="InTime">
/// False where the update came after the round was closed. It stays in the session and is no part of the round.
/// </param>
public sealed record SessionArrival(long Number, ClientUpdate Update, bool InTime);
