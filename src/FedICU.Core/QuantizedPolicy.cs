namespace FedICU;

/// <summary>What happens if a model holds quantized tensors.</summary>
public enum QuantizedPolicy
{
    /// <summary>The round is refused: the default.</summary>
    Reject,
    /// <summary>
    /// A client that sends quantized tensors is left out of the whole round, and the report says why.
    /// </summary>
    DropClient,
    /// <summary>
    /// Quantized tensors and their companions, such as scales, keep the global model's values, and the report says so.
    /// </summary>
    Keep,
}
