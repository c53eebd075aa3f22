namespace FedICU;

/// <summary>How <see cref="FedAvgM"/> adds an update to its momentum. In the first round m = D.</summary>
public enum MomentumForm
{
    /// <summary>m = beta m + D: the default.</summary>
    Sum,
    /// <summary>m = beta m + (1 - beta) D, a mean that forgets.</summary>
    Ema,
}
