namespace FedICU;

/// <summary>How <see cref="Dare"/> makes up for the elements that it drops.</summary>
public enum DareRescale
{
    /// <summary>What is left is divided by the density: the default.</summary>
    Density,
    /// <summary>What is left of a tensor gets the L1 norm that the whole tensor had.</summary>
    L1,
    /// <summary>Not at all.</summary>
    None,
}
