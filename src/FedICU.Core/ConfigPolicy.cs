namespace FedICU;

/// <summary>What happens where a client's adapter configuration disagrees with the others.</summary>
public enum ConfigPolicy
{
    /// <summary>The round is refused: the default.</summary>
    Reject,
    /// <summary>The client is left out of the whole round, and the report says why.</summary>
    DropClient,
    /// <summary>
    /// All fields are compared but the base model's name, for clients that name one base model by local paths of their own.
    /// </summary>
    IgnoreBase,
}
