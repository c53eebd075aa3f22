namespace FedICU;

/// <summary>The part of a tensor that one norm is computed over.</summary>
public enum NormAxis
{
    /// <summary>
    /// Each column of the matrix (docs/algorithms.md, FedICU: the server; DoRA's weight decomposition).
    /// </summary>
    Columns,
    /// <summary>Each row.</summary>
    Rows,
    /// <summary>The whole tensor as one.</summary>
    Tensor,
}
