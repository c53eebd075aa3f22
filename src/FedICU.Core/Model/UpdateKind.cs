namespace FedICU;

/// <summary>What a client's tensors mean.</summary>
public enum UpdateKind
{
    /// <summary>The client's whole parameters, theta_k.</summary>
    Full,
    /// <summary>The difference theta_k - theta_g to the model it received.</summary>
    Delta,
    /// <summary>Packed values and bit masks: what is not sent keeps the received value (docs/adr/0006).</summary>
    Sparse,
}
