using FedICU.Rounds;
using FedICU.Strategies.Abstractions;

namespace FedICU;

/// <summary>
/// A rule composed of stages: weightings, then transforms, then one merge, then steps of the server. Use
/// <see cref="AggregatorBuilder"/>, or derive a class that gives a composition a name.
/// </summary>
public class StageAggregator : IAggregator
{
    private readonly StageSequence _stages;

    /// <summary>Composes a rule.</summary>
    /// <param name="stages">The stages in their order. Without a merge, the merge is <see cref="FedAvg"/>.</param>
    /// <exception cref="InvalidOptionsException">
    /// The stages are in another order, two of them have one name, or there are two merges.
    /// </exception>
    public StageAggregator(params IReadOnlyList<Stage> stages) : this(stages, new FedAvgOptions())
    {
    }

    internal StageAggregator(IReadOnlyList<Stage> stages, FedAvgOptions implied)
    {
        ArgumentNullException.ThrowIfNull(stages);
        Stages = [.. stages];
        _stages = new StageSequence(Stages, new FedAvg(implied));
    }

    /// <summary>Gets the names of the stages, joined by commas.</summary>
    public string Name => _stages.Name;

    /// <summary>Gets the stages in their order.</summary>
    public IReadOnlyList<Stage> Stages { get; }

    /// <summary>
    /// Gets whether a stage keeps a state between rounds: whether <see cref="AggregationRound.State"/> should be set.
    /// </summary>
    public bool KeepsState => _stages.KeepsState;

    /// <inheritdoc/>
    public Task<AggregationResult> AggregateAsync(
        AggregationRound round, TensorSink output, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(round);
        ArgumentNullException.ThrowIfNull(output);
        return Task.Run(() => new RoundExecution(_stages, round, output, cancellationToken).RunAsync(), cancellationToken);
    }

    /// <summary>
    /// Checks a round without computing it: opens and checks all clients, asks every stage, and opens and checks the
    /// state. Nothing is written; a pending state of a stopped run is neither completed nor removed.
    /// </summary>
    /// <param name="round">The round.</param>
    /// <param name="output">
    /// The round's output, which must not replace a client's update; null if it is not known.
    /// </param>
    /// <param name="cancellationToken">Ends the check.</param>
    /// <returns>A report with the clients that would take part and the notes, and without tensors.</returns>
    /// <exception cref="FedIcuException">A client, a stage or the state refuses the round.</exception>
    public Task<AggregationResult> CheckAsync(
        AggregationRound round, TensorSink? output = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(round);
        return Task.Run(
            () => new RoundExecution(_stages, round, output ?? TensorSink.Discard, cancellationToken).Check(), cancellationToken);
    }
}
