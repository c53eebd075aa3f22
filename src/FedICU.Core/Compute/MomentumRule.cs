namespace FedICU.Compute;

/// <summary>Where the quantity u, whose magnitude is the update's importance, comes from.</summary>
public enum MomentumRule
{
    /// <summary>u = local - global.</summary>
    None,
    /// <summary>u = fma(beta, momentum, (1 - beta) * (local - global)): the exponential moving average of the updates.</summary>
    Ema,
    /// <summary>u = momentum as the caller gives it, for instance accumulated gradients.</summary>
    Supplied,
}
