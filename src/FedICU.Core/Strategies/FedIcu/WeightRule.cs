namespace FedICU;

/// <summary>How similarities become divergence weights.</summary>
public enum WeightRule
{
    /// <summary>w = softmax(s / tau): the default.</summary>
    Softmax,
    /// <summary>w_k = max(s_k, 0) over their sum; uniform where none is positive.</summary>
    Relu,
    /// <summary>w_k = s_k; the weights need not sum to one.</summary>
    Raw,
}
