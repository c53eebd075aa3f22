namespace FedICU;

/// <summary>What happens if an update states another round than the one that is aggregated.</summary>
public enum StalePolicy
{
    /// <summary>The update takes part, and the report notes it: the default.</summary>
    Note,
    /// <summary>The round is refused.</summary>
    Reject,
    /// <summary>The client is left out of the whole round, and the report says why.</summary>
    DropClient,
}
