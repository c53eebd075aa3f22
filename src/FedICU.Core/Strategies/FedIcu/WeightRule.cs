namespace FedICU;

/// <summary>How similarities s_k become divergence weights w_k.</summary>
public enum WeightRule
{
    /// <summary>w = softmax(s / tau): the default.</summary>
    Softmax,
    /// <summary>w_k = max(s_k, 0) / sum_j max(s_j, 0); uniform if no s_k is positive.</summary>
    Relu,
    /// <summary>w_k = s_k. The weights need not sum to one; the previous direction gets 1 - sum_k w_k.</summary>
    Raw,
}
