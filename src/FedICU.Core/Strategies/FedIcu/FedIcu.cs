using System.Runtime.CompilerServices;
using FedICU.Strategies.FedIcu;

namespace FedICU;

/// <summary>
/// FedICU's merge (Liao, Huang, Wan, Liang, Yang, Ye: "Splitting with Importance-aware Updating for Heterogeneous
/// Federated Learning with Large Language Models", ICML 2025).
/// </summary>
/// <remarks>
/// <para>
/// Each client's matrix theta_k is split into magnitudes M_k, the norms of its columns (the consensus part), and
/// directions V_k = theta_k / M_k (the divergence part). The magnitudes are averaged to M. The directions are combined
/// to V by weights from their mutual cosine similarity. The new matrix is theta[:,c] = M[c] V[:,c] / ||V[:,c]||.
/// </para>
/// <para>
/// docs/algorithms.md sets each formula beside the code, and says which parts are the paper's and which are ours.
/// </para>
/// </remarks>
public sealed class FedIcu : MergeRule
{
    // a plan's split, made once for all its tensors: it may hold the weights of the whole model
    private readonly ConditionalWeakTable<RoundPlan, ConsensusDivergenceSplit> _splits = [];
    private readonly ConditionalWeakTable<RoundPlan, ConsensusDivergenceSplit>.CreateValueCallback _createSplit;

    /// <summary>Creates the merge.</summary>
    /// <param name="options">The options; null for the defaults.</param>
    /// <exception cref="InvalidOptionsException">
    /// The options break their rules; the message lists all errors.
    /// </exception>
    public FedIcu(FedIcuOptions? options = null)
    {
        Options = options ?? new FedIcuOptions();
        Options.Validate();
        bool measures = Options.Granularity == Granularity.Model && Options.Scores is null;
        Statistics = measures ? [new DirectionProducts(Options)] : [];
        _createSplit = CreateSplit;
    }

    /// <summary>Gets the options.</summary>
    public FedIcuOptions Options { get; }

    /// <inheritdoc/>
    public override string Name => "fedicu";

    // a caller's function for scores need not be thread-safe
    /// <inheritdoc/>
    public override bool IsThreadSafe => Options.Scores is null;

    /// <inheritdoc/>
    public override IReadOnlyList<RoundStatistic> Statistics { get; }

    /// <inheritdoc/>
    public override void Merge(TensorContext tensor)
    {
        ArgumentNullException.ThrowIfNull(tensor);
        _splits.GetValue(tensor.Plan, _createSplit).Merge(tensor);
    }

    private ConsensusDivergenceSplit CreateSplit(RoundPlan plan)
    {
        var alignment = new DivergenceAlignment(Options, plan.Clients);
        bool ofModel = Options.Granularity == Granularity.Model;
        return new ConsensusDivergenceSplit(Options, alignment, ofModel ? alignment.WeighModel(plan) : null);
    }
}
