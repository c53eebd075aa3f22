namespace FedICU;

/// <summary>What a round did to the product of a LoRA pair.</summary>
/// <param name="Name">The module's name: the tensors' names before <c>.lora_A</c>.</param>
/// <param name="CrossTerm">
/// The error that averaging the factors separately makes: ||mean(B A) - mean(B) mean(A)|| / ||mean(B A)||, with means
/// weighted by the clients' shares and Frobenius norms; 0 if the denominator is 0. NaN if it was not measured, or if
/// the clients' ranks differ.
/// </param>
public sealed record LoraPairReport(string Name, double CrossTerm)
{
    /// <summary>The rank that was written; null if no rule of pairs wrote it.</summary>
    public long? Rank { get; init; }

    /// <summary>The scaling s of the written pair; null if it is unknown.</summary>
    public double? Scaling { get; init; }

    /// <summary>
    /// ||W - s B A|| of the written factors, where W = sum_k w_k s_k B_k A_k; null if the rule does not state it.
    /// </summary>
    public double? Error { get; init; }

    /// <summary><see cref="Error"/> / ||W||; 0 if W is 0.</summary>
    public double? RelativeError { get; init; }

    /// <summary>
    /// The effective rank of W: exp of the entropy of its singular values over their sum (Roy, Vetterli 2007). Null if
    /// it was not measured.
    /// </summary>
    public double? EffectiveRank { get; init; }

    /// <summary>
    /// How far the clients' row spaces of A agree: the mean over pairs of clients of ||Q_j^T Q_k||^2 / min(r_j, r_k),
    /// from 0 (orthogonal) to 1 (one contains the other). Null if it was not measured, or for one client.
    /// </summary>
    public double? OverlapOfA { get; init; }

    /// <summary>The same of the column spaces of B.</summary>
    public double? OverlapOfB { get; init; }
}
