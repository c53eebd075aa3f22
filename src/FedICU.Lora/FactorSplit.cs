namespace FedICU;

/// <summary>How the singular values are divided between the two factors (<c>split</c>).</summary>
public enum FactorSplit
{
    /// <summary>Both factors carry their square roots: the default.</summary>
    Balanced,
    /// <summary>B carries them; the rows of A are orthonormal.</summary>
    B,
    /// <summary>A carries them; the columns of B are orthonormal.</summary>
    A,
}
