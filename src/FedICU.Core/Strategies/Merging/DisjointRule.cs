namespace FedICU;

/// <summary>What the weighted sum of the agreeing updates is divided by.</summary>
public enum DisjointRule
{
    /// <summary>The sum of their weights.</summary>
    Mean,
    /// <summary>Their number.</summary>
    Count,
    /// <summary>Nothing.</summary>
    Sum,
}
