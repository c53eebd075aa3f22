namespace FedICU;

/// <summary>How much each client weighs in a mean.</summary>
public enum Weighting
{
    /// <summary>w_k = p_k, by the clients' weights n_k: the default.</summary>
    Share,
    /// <summary>w_k = 1/N.</summary>
    Uniform,
}
