namespace FedICU;

/// <summary>How <see cref="Bulyan"/> selects its clients.</summary>
public enum BulyanSelectionRule
{
    /// <summary>
    /// The Krum winner among those left moves to the chosen, with new scores each time: the paper's, and the default.
    /// </summary>
    Iterative,
    /// <summary>The clients of the lowest scores of one scoring.</summary>
    Once,
}
