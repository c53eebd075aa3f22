using FedICU.Compute;
using FedICU.Memory;
using FedICU.Strategies.Abstractions;

namespace FedICU;

/// <summary>
/// A stage that rewrites the merged factors of each LoRA pair, in the output's type. The library's own.
/// </summary>
public abstract class PairStep : Stage
{
    private protected PairStep() { }

    /// <summary>Returns why the stage leaves a pair as it is; null if it rewrites the pair.</summary>
    internal abstract string? DescribeObstacle(LoraPair pair);

    /// <summary>Rewrites the factors in place.</summary>
    /// <returns>Why the factors stay as they are; null if they were rewritten.</returns>
    internal abstract string? Apply(
        LoraPair pair, TensorPanel a, TensorPanel b, IComputeBackend backend, Scratch scratch, CancellationToken cancellationToken);
}
