namespace FedICU;

/// <summary>How a tensor of one model differs from the same tensor of another.</summary>
public sealed record TensorDifference
{
    /// <summary>The tensor.</summary>
    public required string Name { get; init; }

    /// <summary>How many elements it has.</summary>
    public required long Elements { get; init; }

    /// <summary>How many elements differ in value; of types that share bytes (F4, F6), how many bytes do.</summary>
    public required long DifferentElements { get; init; }

    /// <summary>
    /// The largest |a - b|; infinite where one side is NaN or infinite and the other is not the same. Null for types compared by their bytes.
    /// </summary>
    public double? MaxAbsolute { get; init; }

    /// <summary>The largest |a - b| / max(|a|, |b|), at most 2; infinite and null as <see cref="MaxAbsolute"/>.</summary>
    public double? MaxRelative { get; init; }
}
