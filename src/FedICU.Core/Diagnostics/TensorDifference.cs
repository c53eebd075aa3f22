namespace FedICU;

/// <summary>The difference between the same tensor of two models.</summary>
public sealed record TensorDifference
{
    /// <summary>The tensor's name.</summary>
    public required string Name { get; init; }

    /// <summary>The number of elements.</summary>
    public required long Elements { get; init; }

    /// <summary>
    /// The number of elements that differ in value; for types smaller than a byte (F4, F6) the number of bytes.
    /// </summary>
    public required long DifferentElements { get; init; }

    /// <summary>
    /// The largest |a - b|; infinite if one side is NaN or infinite and the other is not the same. Null for types
    /// compared by their bytes.
    /// </summary>
    public double? MaxAbsolute { get; init; }

    /// <summary>
    /// The largest |a - b| / max(|a|, |b|), at most 2; infinite and null as <see cref="MaxAbsolute"/>.
    /// </summary>
    public double? MaxRelative { get; init; }
}
