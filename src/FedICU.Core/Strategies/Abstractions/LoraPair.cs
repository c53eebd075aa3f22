namespace FedICU.Strategies.Abstractions;

/// <summary>The two LoRA factors of one module, which add s B A to its weight.</summary>
/// <param name="Module">The module's name: the tensors' names before <c>.lora_A</c>.</param>
/// <param name="A">[rank, inputs]; for a convolution [rank, channels, kernel ...].</param>
/// <param name="B">[outputs, rank]; for a convolution [outputs, rank, 1 ...].</param>
/// <param name="Scaling">s; null if it is unknown.</param>
internal sealed record LoraPair(string Module, TensorInfo A, TensorInfo B, double? Scaling)
{
    /// <summary>kohya's scalar alpha beside the factors, which states the scaling; null if there is none.</summary>
    public TensorInfo? Alpha { get; init; }

    /// <summary>The number of columns of B and of rows of A.</summary>
    public long Rank => A.Shape.Dimensions[0];

    /// <summary>The number of columns of A as a matrix whose rows are its first dimension.</summary>
    public long Inputs => A.ElementCount / Rank;

    /// <summary>The number of rows of B.</summary>
    public long Outputs => B.Shape.Dimensions[0];

    /// <summary>
    /// Whether the shapes are those of two factors: A [r, ...] and B [o, r, 1 ...], neither of them empty.
    /// </summary>
    public static bool Fit(TensorShape a, TensorShape b) =>
        a.Rank >= 2 && b.Rank >= 2 && a.ElementCount > 0 && b.ElementCount > 0 &&
        b.ElementCount / b.Dimensions[0] == a.Dimensions[0] && b.Dimensions[1] == a.Dimensions[0];

    /// <summary>Whether other factors change a weight of the same shape, whatever their rank is.</summary>
    public bool Matches(TensorShape a, TensorShape b) =>
        Fit(a, b) && a.Dimensions[1..].SequenceEqual(A.Shape.Dimensions[1..]) && b.Dimensions[0] == Outputs &&
        b.Dimensions[2..].SequenceEqual(B.Shape.Dimensions[2..]);

    /// <summary>The factors with another rank.</summary>
    public (TensorInfo A, TensorInfo B) WithRank(long rank) => (
        A with { Shape = new TensorShape([rank, .. A.Shape.Dimensions[1..]]) },
        B with { Shape = new TensorShape([Outputs, rank, .. B.Shape.Dimensions[2..]]) });
}
