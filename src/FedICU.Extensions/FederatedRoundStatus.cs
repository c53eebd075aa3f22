namespace FedICU.Extensions;

/// <summary>The state of the current round of <see cref="FederatedRounds"/>.</summary>
public sealed record FederatedRoundStatus
{
    /// <summary>Gets the number of the round: 1 for the first.</summary>
    public required long Number { get; init; }

    /// <summary>
    /// Gets the number of the round's attempt: 1 for the first. A round that was refused begins again with the same
    /// number and model and the next attempt, and each client sends an update again.
    /// </summary>
    public required int Attempt { get; init; }

    /// <summary>Gets whether the round takes updates.</summary>
    public required bool IsOpen { get; init; }

    /// <summary>
    /// Gets whether the last round is over. The number and the model are then those of a round that never begins.
    /// </summary>
    public required bool IsFinished { get; init; }

    /// <summary>Gets the digest of the global model, as <see cref="ModelDigest"/> writes it.</summary>
    public required string BaseDigest { get; init; }

    /// <summary>Gets the clients that have sent an update, in the order of arrival.</summary>
    public required IReadOnlyList<string> Clients { get; init; }

    /// <summary>Gets the number of clients that completes the round.</summary>
    public required int ExpectedClients { get; init; }

    /// <summary>Gets when the round ends with the minimum of clients; null if it waits for all.</summary>
    public required DateTimeOffset? Deadline { get; init; }

    /// <summary>Gets why the last attempt failed; null if there was none. It may contain paths of the server.</summary>
    public required string? LastFailure { get; init; }
}
