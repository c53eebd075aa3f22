namespace FedICU;

/// <summary>How much each client weighs in a rule that merges updates.</summary>
public enum MergeWeighting
{
    /// <summary>w_k = p_k, the clients' shares of the weights n_k: the default.</summary>
    Share,
    /// <summary>w_k = 1/N.</summary>
    Uniform,
    /// <summary>w_k = n_k, as it is.</summary>
    Raw,
    /// <summary>w_k = 1.</summary>
    One,
}
