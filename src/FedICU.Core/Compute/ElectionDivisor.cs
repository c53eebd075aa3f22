namespace FedICU.Compute;

/// <summary>What the weighted sum of the agreeing updates is divided by.</summary>
internal enum ElectionDivisor
{
    /// <summary>The sum of their weights.</summary>
    Weights,
    /// <summary>Their number.</summary>
    Count,
    /// <summary>Nothing.</summary>
    None,
}
