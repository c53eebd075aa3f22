namespace FedICU;

/// <summary>What a norm is taken over.</summary>
public enum NormAxis
{
    /// <summary>Each column of the matrix (docs/algorithms.md, FedICU: the server; DoRA's weight decomposition).</summary>
    Columns,
    /// <summary>Each row.</summary>
    Rows,
    /// <summary>The whole tensor as one.</summary>
    Tensor,
}
