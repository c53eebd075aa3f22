using FedICU.Strategies.FedIcu;

namespace FedICU;

/// <summary>
/// FedICU's server (Liao, Huang, Wan, Liang, Yang, Ye: "Splitting with Importance-aware Updating for Heterogeneous
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
public sealed class FedIcuAggregator : TensorAggregator
{
    /// <summary>Creates the strategy.</summary>
    /// <param name="options">The options; null for the defaults.</param>
    /// <exception cref="InvalidOptionsException">
    /// The options break their rules; the message lists all errors.
    /// </exception>
    public FedIcuAggregator(FedIcuOptions? options = null)
    {
        Options = options ?? new FedIcuOptions();
        Options.Validate();
    }

    /// <summary>Gets the options.</summary>
    public FedIcuOptions Options { get; }

    /// <inheritdoc/>
    public override string Name => "fedicu";

    /// <inheritdoc/>
    protected override ITensorRule Begin(ModelContext model)
    {
        ArgumentNullException.ThrowIfNull(model);
        var alignment = new DivergenceAlignment(Options, model.Clients);
        bool ofModel = Options.Granularity == Granularity.Model;
        return new ConsensusDivergenceSplit(Options, alignment, ofModel ? alignment.WeighModel(model) : null);
    }
}
