namespace FedICU;

/// <summary>
/// One step of a rule. A rule is a sequence of stages: weightings, transforms of the updates, one merge, steps of the
/// server. Derive from <see cref="ClientWeighting"/>, <see cref="UpdateTransform"/>, <see cref="MergeRule"/> or
/// <see cref="ServerStep"/>.
/// </summary>
/// <remarks>
/// A stage keeps no state of a round in its fields: it may serve several rounds at once, and a round may start over
/// without a client that a policy dropped.
/// </remarks>
public abstract class Stage
{
    /// <summary>
    /// Gets the name in reports, in state files and on the command line: <c>fedavg</c>, <c>krum</c>, ...
    /// </summary>
    public abstract string Name { get; }

    /// <summary>
    /// Gets the statistics that the stage reads from its plan. They are measured before the stage begins, of the
    /// updates that the stages before it have left; those of a transform, before all transforms. <value>Default:
    /// none.</value>
    /// </summary>
    public virtual IReadOnlyList<RoundStatistic> Statistics => [];

    /// <summary>
    /// Checks the clients before anything is computed: their number, for one.
    /// </summary>
    /// <param name="plan">The round's clients and tensors; without statistics.</param>
    /// <exception cref="RoundRejectedException">
    /// The rule cannot be computed; <see cref="RoundPlan.Refuse"/> creates the exception.
    /// </exception>
    public virtual void Check(RoundPlan plan) { }
}
