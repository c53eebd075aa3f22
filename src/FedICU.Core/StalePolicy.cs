namespace FedICU;

/// <summary>What happens where an update states another round than the one being aggregated.</summary>
public enum StalePolicy
{
    /// <summary>The update takes part, and the report notes it: the default.</summary>
    Note,
    /// <summary>The round is refused.</summary>
    Reject,
    /// <summary>The client is left out of the whole round, and the report says why.</summary>
    DropClient,
}
