namespace FedICU;

/// <summary>How much an update that is tau rounds late counts.</summary>
public enum StalenessRule
{
    /// <summary>(1 + tau)^-a: the default.</summary>
    Polynomial,
    /// <summary>1 up to tau = b, then 1 / (a (tau - b) + 1).</summary>
    Hinge,
    /// <summary>1.</summary>
    Constant,
}
