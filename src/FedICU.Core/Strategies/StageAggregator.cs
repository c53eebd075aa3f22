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
        (Stages, _stages) = (stages, new StageSequence(stages, new FedAvg(implied)));
    }

    /// <summary>Gets the names of the stages, joined by commas.</summary>
    public string Name => _stages.Name;

    /// <summary>Gets the stages in their order.</summary>
    public IReadOnlyList<Stage> Stages { get; }

    /// <summary>
    /// Gets whether a stage keeps a state between rounds: whether <see cref="AggregationRound.State"/> should be set.
    /// </summary>
    public bool KeepsState => _stages.State.Count > 0;

    /// <inheritdoc/>
    public Task<AggregationResult> AggregateAsync(
        AggregationRound round, TensorSink output, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(round);
        ArgumentNullException.ThrowIfNull(output);
        return Task.Run(() => new RoundExecution(_stages, round, output, cancellationToken).RunAsync(), cancellationToken);
    }
}
