namespace FedICU;

/// <summary>What is split into magnitude and direction.</summary>
public enum SplitTarget
{
    /// <summary>The clients' parameters: the default.</summary>
    Parameters,
    /// <summary>The clients' updates theta_k - theta_g; the result is added to theta_g.</summary>
    Delta,
}
