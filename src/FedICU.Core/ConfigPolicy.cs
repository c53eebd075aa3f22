namespace FedICU;

/// <summary>What happens if a client's adapter configuration disagrees with the others.</summary>
public enum ConfigPolicy
{
    /// <summary>The round is refused: the default.</summary>
    Reject,
    /// <summary>The client is left out of the whole round, and the report says why.</summary>
    DropClient,
    /// <summary>
    /// The base model's name is not compared: for clients that state the same base model by different local paths.
    /// Other differences refuse the round.
    /// </summary>
    IgnoreBase,
}
