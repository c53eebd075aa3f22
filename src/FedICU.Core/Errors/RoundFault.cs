namespace FedICU;

/// <summary>What was wrong with an update; the name of the policy that decides what happens.</summary>
public enum RoundFault
{
    /// <summary>The round as a whole: no clients, fewer than the quorum, a duplicate id, a wrong weight.</summary>
    Round,
    /// <summary>NaN or infinite values.</summary>
    NonFinite,
    /// <summary>A tensor of the global model is missing.</summary>
    Missing,
    /// <summary>A tensor that the global model lacks.</summary>
    Extra,
    /// <summary>Another shape.</summary>
    Shape,
    /// <summary>A type that cannot be combined with the global model's.</summary>
    DType,
    /// <summary>Made against another model.</summary>
    Base,
    /// <summary>The update cannot be opened or read.</summary>
    Unreadable,
    /// <summary>The weight that the client states cannot be used.</summary>
    Weight,
    /// <summary>The adapter configuration disagrees with the others.</summary>
    Config,
    /// <summary>Quantized tensors.</summary>
    Quantized,
    /// <summary>A file changed while the round read it.</summary>
    Changed,
    /// <summary>The update states another round.</summary>
    Stale,
}
