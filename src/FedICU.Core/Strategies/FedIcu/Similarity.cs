namespace FedICU;

/// <summary>What a client's direction is compared with to find its divergence weight.</summary>
public enum Similarity
{
    /// <summary>s_k = mean of cos(v_k, v_j) over the other clients: the default.</summary>
    Pairwise,
    /// <summary>s_k = mean of cos(v_k, v_j) over all clients, itself included.</summary>
    PairwiseWithSelf,
    /// <summary>s_k = cos(v_k, sum_j v_j).</summary>
    MeanDirection,
    /// <summary>s_k = cos(v_k, v) with v the direction of the global model before the round; uniform weights where that is zero.</summary>
    PreviousDirection,
}
