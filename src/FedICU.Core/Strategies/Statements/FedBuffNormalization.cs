namespace FedICU;

/// <summary>What <see cref="FedBuff"/> divides the sum of updates by.</summary>
public enum FedBuffNormalization
{
    /// <summary>sum_k w_k, whatever the staleness: the default.</summary>
    Count,
    /// <summary>sum_k w_k s_k, so that the staleness only moves weight between clients.</summary>
    Weights,
}
