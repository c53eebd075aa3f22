namespace FedICU;

/// <summary>
/// What a client's direction is compared with. v_k is the flattened and normalized direction of client k; a zero v_k
/// has cosine 0 with everything.
/// </summary>
public enum Similarity
{
    /// <summary>s_k is the mean of cos(v_k, v_j) over the other clients j: the default.</summary>
    Pairwise,
    /// <summary>s_k is the mean of cos(v_k, v_j) over all clients j, client k included.</summary>
    PairwiseWithSelf,
    /// <summary>s_k = cos(v_k, sum_j v_j).</summary>
    MeanDirection,
    /// <summary>
    /// s_k = cos(v_k, v) with the direction v of the global model before the round. If v is zero, the weights are
    /// uniform.
    /// </summary>
    PreviousDirection,
}
