namespace FedICU;

/// <summary>The answer to an update that was accepted.</summary>
/// <param name="Update">The update: over a session, the copy in its folder.</param>
/// <param name="IsRepeated">
/// Whether the client had sent the same bytes before, with the same statements. Nothing was added then.
/// </param>
public sealed record UpdateReceipt(ClientUpdate Update, bool IsRepeated);
