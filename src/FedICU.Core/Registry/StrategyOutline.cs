using FedICU.Strategies.Abstractions;

namespace FedICU.Registry;

/// <summary>What a strategy adds to a round with its default options, for help texts and tables.</summary>
/// <param name="Kinds">The kind of each of its stages: <c>weighting</c>, <c>merge</c>, ...</param>
/// <param name="State">The tensors that its stages keep between rounds.</param>
internal sealed record StrategyOutline(IReadOnlyList<string> Kinds, IReadOnlyList<StateSlot> State)
{
    /// <summary>Describes a strategy; null if it has an option without a default.</summary>
    public static StrategyOutline? Of(StrategyDescription strategy)
    {
        try
        {
            IReadOnlyList<Stage> stages = new StageAggregator(strategy.Read(new OptionReader([]))()).Stages;
            return new StrategyOutline(
                [.. stages.Select(StageSequence.NameKind)], [.. stages.OfType<ServerStep>().SelectMany(step => step.State)]);
        }
        catch (InvalidOptionsException)
        {
            return null;
        }
    }

    /// <summary>
    /// Gets whether the strategy has a merge; without one among the strategies of a rule it is fedavg's.
    /// </summary>
    public bool HasMerge => Kinds.Contains(StageSequence.MergeKind);

    /// <summary>Describes the state in a few words.</summary>
    public string DescribeState() => State.Count == 0
        ? "none"
        : string.Join(", ", State.Select(slot => string.Create(
            System.Globalization.CultureInfo.InvariantCulture, $"{slot.Name} (at first {slot.Initial})")));
}
