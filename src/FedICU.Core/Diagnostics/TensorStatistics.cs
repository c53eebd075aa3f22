namespace FedICU;

/// <summary>The statistics of one tensor. All but its name and size are null for types that are not decoded.</summary>
public sealed record TensorStatistics
{
    /// <summary>The tensor's name.</summary>
    public required string Name { get; init; }

    /// <summary>The number of elements.</summary>
    public required long Elements { get; init; }

    /// <summary>The number of NaN and infinite elements. The other statistics are of the finite ones.</summary>
    public long? NonFinite { get; init; }

    /// <summary>The L2 norm.</summary>
    public double? Norm { get; init; }

    /// <summary>The smallest value; null if there is none.</summary>
    public double? Minimum { get; init; }

    /// <summary>The largest value; null if there is none.</summary>
    public double? Maximum { get; init; }

    /// <summary>The mean; null if there is no value.</summary>
    public double? Mean { get; init; }
}
