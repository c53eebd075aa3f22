using FedICU.Rounds;

namespace FedICU;

/// <summary>
/// The base of strategies: a strategy says how one tensor is made of the clients' tensors; checking, reading, threads, policies, report and output
/// are the round's.
/// </summary>
public abstract class TensorAggregator : IAggregator
{
    /// <inheritdoc/>
    public abstract string Name { get; }

    /// <inheritdoc/>
    public Task<AggregationResult> AggregateAsync(AggregationRound round, TensorSink output, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(round);
        ArgumentNullException.ThrowIfNull(output);
        return Task.Run(() => new RoundExecution(this, round, output, cancellationToken).Run(), cancellationToken);
    }

    /// <summary>Begins the strategy's work on a checked round. Called again where the round starts over without a dropped client.</summary>
    /// <param name="model">The tensors that <see cref="ITensorRule.Aggregate"/> will be called for, in the order of the global model.</param>
    /// <returns>The rule for this round; a strategy without state of the round returns itself.</returns>
    protected abstract ITensorRule Begin(ModelContext model);

    internal ITensorRule BeginRound(ModelContext model) => Begin(model);
}
