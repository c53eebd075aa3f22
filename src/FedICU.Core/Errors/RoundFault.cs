namespace FedICU;

/// <summary>The kinds of faults of a round or an update. Most have a policy that decides what happens.</summary>
public enum RoundFault
{
    /// <summary>
    /// The round as a whole: no clients, an invalid id, what the rule refuses.
    /// </summary>
    Round,
    /// <summary>NaN or infinite values.</summary>
    NonFinite,
    /// <summary>A tensor of the global model is missing.</summary>
    Missing,
    /// <summary>A tensor that the global model does not have.</summary>
    Extra,
    /// <summary>A different shape.</summary>
    Shape,
    /// <summary>A type that cannot be combined with the global model's type.</summary>
    DType,
    /// <summary>The update was made against another model.</summary>
    Base,
    /// <summary>The update cannot be opened or read.</summary>
    Unreadable,
    /// <summary>The weight that the client states is unusable.</summary>
    Weight,
    /// <summary>The adapter configuration disagrees with the others.</summary>
    Config,
    /// <summary>Quantized tensors.</summary>
    Quantized,
    /// <summary>A file changed while the round read it.</summary>
    Changed,
    /// <summary>The update states another round number.</summary>
    Stale,
    /// <summary>What the client states about its training is missing or out of range.</summary>
    Statement,
    /// <summary>The client has sent another update already.</summary>
    Duplicate,
    /// <summary>The update came after the round was sealed.</summary>
    Late,
    /// <summary>Fewer clients than the round needs.</summary>
    Quorum,
    /// <summary>The upload has more bytes than allowed.</summary>
    TooLarge,
    /// <summary>The round is not open yet; the same update may be sent again soon.</summary>
    NotOpen,
}
