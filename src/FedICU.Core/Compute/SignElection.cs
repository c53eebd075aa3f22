namespace FedICU.Compute;

/// <summary>How updates are merged that may have different signs (Yadav et al. 2023).</summary>
/// <param name="Sum">The sum whose sign is elected. At most 1e-12 of its magnitudes is 0, which is +.</param>
/// <param name="Divisor">What the weighted sum of the updates with that sign is divided by.</param>
/// <param name="Scale">A factor of the result.</param>
internal readonly record struct SignElection(ElectedSum Sum, ElectionDivisor Divisor, double Scale)
{
    /// <summary>The share of the magnitudes in a sum below which it counts as 0.</summary>
    public const double Zero = 1e-12;
}
