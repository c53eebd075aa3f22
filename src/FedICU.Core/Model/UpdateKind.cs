namespace FedICU;

/// <summary>Specifies what a client's tensors contain.</summary>
public enum UpdateKind
{
    /// <summary>The client's whole parameters, theta_k.</summary>
    Full,
    /// <summary>The difference theta_k - theta_g from the model that the client received.</summary>
    Delta,
    /// <summary>
    /// Packed values and bit masks. Values that are not sent keep the received value (docs/adr/0006).
    /// </summary>
    Sparse,
}
