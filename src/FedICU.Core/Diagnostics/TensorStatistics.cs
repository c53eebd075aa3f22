namespace FedICU;

/// <summary>Figures of one tensor; those of numbers are null for types that are not decoded.</summary>
public sealed record TensorStatistics
{
    /// <summary>The tensor.</summary>
    public required string Name { get; init; }

    /// <summary>How many elements it has.</summary>
    public required long Elements { get; init; }

    /// <summary>How many are NaN or infinite; the other figures are of the rest.</summary>
    public long? NonFinite { get; init; }

    /// <summary>The L2 norm.</summary>
    public double? Norm { get; init; }

    /// <summary>The smallest value; null where there is none.</summary>
    public double? Minimum { get; init; }

    /// <summary>The largest value; null where there is none.</summary>
    public double? Maximum { get; init; }

    /// <summary>The mean; null where there is none.</summary>
    public double? Mean { get; init; }
}
