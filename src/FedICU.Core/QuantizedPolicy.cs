namespace FedICU;

/// <summary>What happens where a model holds quantized tensors.</summary>
public enum QuantizedPolicy
{
    /// <summary>The round is refused: the default.</summary>
    Reject,
    /// <summary>A client that sends quantized tensors is left out of the whole round, and the report says why.</summary>
    DropClient,
    /// <summary>Codes and their companions keep the global model's values, and the report says so.</summary>
    Keep,
}
