namespace FedICU;

/// <summary>What is split into magnitudes and directions.</summary>
public enum SplitTarget
{
    /// <summary>The clients' parameters theta_k: the default.</summary>
    Parameters,
    /// <summary>The clients' updates theta_k - theta_g; the result is added to the global model theta_g.</summary>
    Delta,
}
