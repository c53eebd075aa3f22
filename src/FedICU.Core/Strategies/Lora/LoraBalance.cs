using FedICU.Compute;
using FedICU.Memory;
using FedICU.Strategies.Abstractions;
using FedICU.Strategies.Lora;

namespace FedICU;

/// <summary>
/// Rewrites each LoRA pair so that both factors carry the same singular values: norm(B[:,j])^2 = norm(A[j,:])^2 = s_j,
/// in descending order; B A is unchanged. The mean of factors depends on how clients divide the product between them.
/// Balanced factors give all clients the same division at the start of a round (docs/algorithms.md, LoRA adapters).
/// </summary>
public sealed class LoraBalance : PairStep
{
    /// <inheritdoc/>
    public override string Name => "balance";

    internal override string? DescribeObstacle(LoraPair pair) =>
        pair.Rank > PairBalance.MaximumRank ? $"their rank is above {PairBalance.MaximumRank}" : null;

    internal override string? Apply(
        LoraPair pair, TensorPanel a, TensorPanel b, IComputeBackend backend, Scratch scratch, CancellationToken cancellationToken) =>
        new PairBalance(pair, a, b, backend, scratch, cancellationToken).TryRun();
}
