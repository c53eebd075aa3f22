namespace FedICU.Compute;

/// <summary>How u is computed; its magnitude is the importance of an update.</summary>
public enum MomentumRule
{
    /// <summary>u = local - global.</summary>
    None,

    /// <summary>
    /// u = fma(beta, momentum, (1 - beta) * (local - global)): the exponential moving average of the updates.
    /// </summary>
    Ema,

    /// <summary>u = the momentum as the caller supplies it, for instance accumulated gradients.</summary>
    Supplied,
}
