using FedICU.Strategies.FedIcu;

namespace FedICU;

/// <summary>
/// FedICU's server (Liao, Huang, Wan, Liang, Yang, Ye: "Splitting with Importance-aware Updating for Heterogeneous Federated Learning with Large
/// Language Models", ICML 2025): each client's matrix is split into magnitudes M (the norms of its columns, the consensus part) and directions
/// V = theta / M (the divergence part); magnitudes are averaged, directions are combined by weights from their mutual cosine similarity, and the
/// new matrix is theta[:,c] = M[c] V[:,c] / ||V[:,c]||.
/// </summary>
/// <remarks>docs/algorithms.md sets each formula beside the code, and says what is the paper's and what is ours.</remarks>
public sealed class FedIcuAggregator : TensorAggregator
{
    /// <summary>Makes the rule.</summary>
    /// <param name="options">Its options; null: the defaults.</param>
    /// <exception cref="InvalidOptionsException">The options contradict their rules; the message lists all errors.</exception>
    public FedIcuAggregator(FedIcuOptions? options = null)
    {
        Options = options ?? new FedIcuOptions();
        Options.Validate();
    }

    /// <summary>The options given.</summary>
    public FedIcuOptions Options { get; }

    /// <inheritdoc/>
    public override string Name => "fedicu";

    /// <inheritdoc/>
    protected override ITensorRule Begin(ModelContext model)
    {
        ArgumentNullException.ThrowIfNull(model);
        var alignment = new DivergenceAlignment(Options, model.Clients);
        return new ConsensusDivergenceSplit(Options, alignment, Options.Granularity == Granularity.Model ? alignment.OfModel(model) : null);
    }
}
