namespace FedICU;

/// <summary>Composes a rule of stages.</summary>
/// <example>
/// <code>
/// IAggregator server = new AggregatorBuilder().Weigh(new Krum()).Then(new FedAdam()).Build();
/// </code>
/// </example>
public sealed class AggregatorBuilder
{
    private readonly List<Stage> _stages = [];

    /// <summary>Adds a weighting of the clients.</summary>
    public AggregatorBuilder Weigh(ClientWeighting weighting) => Add(weighting);

    /// <summary>Adds a transform of the updates.</summary>
    public AggregatorBuilder Transform(UpdateTransform transform) => Add(transform);

    /// <summary>Sets the merge. Without a call it is the weighted mean.</summary>
    public AggregatorBuilder Merge(MergeRule merge) => Add(merge);

    /// <summary>Adds a step of the server.</summary>
    public AggregatorBuilder Then(ServerStep step) => Add(step);

    /// <summary>Adds a step of LoRA pairs, which comes after all others.</summary>
    public AggregatorBuilder Then(PairStep step) => Add(step);

    /// <summary>Creates the rule.</summary>
    /// <exception cref="InvalidOptionsException">The stages make no rule; the message lists every error.</exception>
    public StageAggregator Build() => new([.. _stages]);

    private AggregatorBuilder Add(Stage stage)
    {
        ArgumentNullException.ThrowIfNull(stage);
        _stages.Add(stage);
        return this;
    }
}
