namespace FedICU.Rounds.Lora;

/// <summary>LoRA's two factors of one module, which change its weight by W = s B A.</summary>
/// <param name="Module">The tensors' name up to <c>.lora_A</c>.</param>
/// <param name="A">[rank, inputs]; of a convolution [rank, channels, kernel ...].</param>
/// <param name="B">[outputs, rank]; of a convolution [outputs, rank, 1 ...].</param>
/// <param name="Scaling">s; null where nothing states it.</param>
internal sealed record LoraPair(string Module, TensorInfo A, TensorInfo B, double? Scaling)
{
    /// <summary>Columns of B and rows of A.</summary>
    public long Rank => A.Shape.Dimensions[0];

    /// <summary>Columns of A as a matrix, whose rows are its first dimension.</summary>
    public long Inputs => A.ElementCount / Rank;

    /// <summary>Rows of B.</summary>
    public long Outputs => B.Shape.Dimensions[0];

    /// <summary>Whether the shapes are those of two factors: A [r, ...] and B [o, r, 1 ...], none of them empty.</summary>
    public static bool Fit(TensorShape a, TensorShape b) =>
        a.Rank >= 2 && b.Rank >= 2 && a.ElementCount > 0 && b.ElementCount > 0 && b.ElementCount / b.Dimensions[0] == a.Dimensions[0] && b.Dimensions[1] == a.Dimensions[0];
}
