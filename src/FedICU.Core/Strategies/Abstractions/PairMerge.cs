using FedICU.Panels;
using FedICU.Rounds.Lora;
using FedICU.Strategies.Abstractions;

namespace FedICU;

/// <summary>
/// A merge that makes one LoRA pair of the clients' pairs, of which it sees both factors. Tensors outside pairs get the
/// weighted mean, or what the rule says. The library's own.
/// </summary>
public abstract class PairMerge : MergeRule
{
    private protected PairMerge() { }

    /// <summary>
    /// Gets the scaling s of pairs for which neither a configuration nor an alpha tensor states one; null if none was
    /// given (<c>lora-scaling</c>).
    /// </summary>
    internal virtual double? LoraScaling => null;

    /// <summary>Gets whether clients may have other ranks and alphas than the global model.</summary>
    internal abstract bool MixesRanks { get; }

    /// <summary>Gets whether the result depends on the scaling s.</summary>
    internal virtual bool NeedsScaling => true;

    /// <summary>Gets whether every client must send the global model's A, bit for bit.</summary>
    internal virtual bool FreezesA => false;

    /// <summary>
    /// Gets whether the written alpha is the rank, and the scaling 1, where the output can state it. Otherwise the
    /// alpha stays as it is.
    /// </summary>
    internal virtual bool WritesUnitScaling => false;

    /// <summary>Gets whether the written rank may be above the number of inputs or outputs.</summary>
    internal virtual bool MayExceedSides => false;

    /// <summary>Gets whether a client's rank may be above the number of inputs or outputs.</summary>
    internal virtual bool TakesAnyRank => MayExceedSides;

    /// <summary>Gets the paths of models that the rule reads beside the round's, each with its option.</summary>
    internal virtual IReadOnlyList<(string Option, string Path)> InputsBeside => [];

    /// <summary>Gets the paths of models that the rule writes beside the output, each with its option.</summary>
    internal virtual IReadOnlyList<(string Option, string Path)> OutputsBeside => [];

    /// <summary>Returns the rank that is written.</summary>
    /// <param name="pair">The global model's pair.</param>
    /// <param name="ranks">The ranks of the clients that take part.</param>
    internal virtual long GetRank(LoraPair pair, IReadOnlyList<long> ranks) => pair.Rank;

    /// <summary>Computes and writes the factors of one pair, on one thread.</summary>
    internal abstract void Merge(PairContext pair);

    /// <summary>Opens models that are written beside the output; null if there are none.</summary>
    /// <param name="round">The pairs of the round.</param>
    /// <param name="plan">The round's plan.</param>
    /// <param name="workers">The threads.</param>
    internal virtual PairOutputs? OpenOutputs(PairRound round, RoundPlan plan, Workers workers) => null;

    /// <inheritdoc/>
    public sealed override void Merge(TensorContext tensor)
    {
        ArgumentNullException.ThrowIfNull(tensor);
        MergeOther(tensor);
    }

    /// <summary>Merges a tensor outside pairs.</summary>
    internal virtual void MergeOther(TensorContext tensor) => tensor.WeightedMean();
}
