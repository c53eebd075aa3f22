using FedICU.Rounds;

namespace FedICU;

/// <summary>
/// The base class of strategies. A strategy computes one tensor from the clients' tensors; the round does everything
/// else: checks, reading, threads, policies, the report and the output.
/// </summary>
public abstract class TensorAggregator : IAggregator
{
    /// <inheritdoc/>
    public abstract string Name { get; }

    /// <inheritdoc/>
    public Task<AggregationResult> AggregateAsync(
        AggregationRound round, TensorSink output, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(round);
        ArgumentNullException.ThrowIfNull(output);
        return Task.Run(() => new RoundExecution(this, round, output, cancellationToken).Run(), cancellationToken);
    }

    /// <summary>
    /// Begins the strategy's work on a checked round. It is called again each time the round restarts without a dropped
    /// client or tensor.
    /// </summary>
    /// <param name="model">
    /// The clients, and the tensors that <see cref="ITensorRule.Aggregate"/> will be called for.
    /// </param>
    /// <returns>The rule for this round; a strategy that keeps no state for the round returns itself.</returns>
    protected abstract ITensorRule Begin(ModelContext model);

    internal ITensorRule BeginRound(ModelContext model) => Begin(model);
}
