namespace FedICU;

/// <summary>What happens if an update has a fault.</summary>
public enum FaultPolicy
{
    /// <summary>The round is refused: the default.</summary>
    Reject,
    /// <summary>The client is left out of the whole round, and the report says why.</summary>
    DropClient,
    /// <summary>The tensor keeps the global model's value, and the report says why.</summary>
    DropTensor,
}
