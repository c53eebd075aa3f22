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
    /// Gets whether the stage is a part of another, and not named in the rule's name.
    /// </summary>
    internal virtual bool IsPart => false;

    /// <summary>
    /// Gets the name for messages: of a part, that of the rule which brings it, as only that one was typed.
    /// </summary>
    internal virtual string RuleName => Name;

    /// <summary>
    /// Gets the statistics that the stage reads from its plan. They are measured before the stage begins, of the
    /// updates that the stages before it have left; those of a transform, before all transforms. <value>Default:
    /// none.</value>
    /// </summary>
    public virtual IReadOnlyList<RoundStatistic> Statistics => [];

    /// <summary>
    /// Gets whether the stage reads <see cref="RoundClient.Statements"/>. <value>Default: false.</value>
    /// </summary>
    public virtual bool ReadsStatements => false;

    /// <summary>
    /// Gets whether the stage reads a second model of each client, its control variates
    /// (<see cref="ClientStatements"/>). <value>Default: false.</value>
    /// </summary>
    public virtual bool ReadsControls => false;

    /// <summary>
    /// Gets the numbers that the stage keeps between rounds: <see cref="RoundPlan.GetScalar"/> and
    /// <see cref="RoundPlan.SetScalar"/>. <value>Default: none.</value>
    /// </summary>
    public virtual IReadOnlyList<StateScalar> Scalars => [];

    /// <summary>
    /// Gets whether the stage depends on <see cref="RoundPlan.RoundsFinished"/>, so that a state is kept even if it has
    /// no tensors. <value>Default: false.</value>
    /// </summary>
    public virtual bool CountsRounds => false;

    /// <summary>Gets whether integer tensors keep the global model's values.</summary>
    internal virtual bool KeepsIntegers => false;

    /// <summary>
    /// Gets whether the stage protects single clients, so that nothing of one client's data may be reported.
    /// </summary>
    internal virtual bool IsPrivate => false;

    /// <summary>
    /// Gets whether an update sent as a delta may be made against an older model, whose digest it states.
    /// </summary>
    internal virtual bool TakesLateDeltas => false;

    /// <summary>
    /// Gets models beside the global one that the stage's statistics read, by name, with their paths. They have the
    /// global model's float tensors. <value>Default: none.</value>
    /// </summary>
    internal virtual IReadOnlyList<(string Name, string Path)> Models => [];

    /// <summary>
    /// Checks what one client states, before the clients of the round are known. The policy <c>on-statement</c> applies
    /// to a fault.
    /// </summary>
    /// <param name="client">The client; its share is not known yet.</param>
    /// <returns>What is wrong, as "its loss is missing; a number was expected"; null if nothing is.</returns>
    public virtual string? DescribeFault(RoundClient client) => null;

    /// <summary>
    /// Checks the clients before anything is computed: their number, for one. Called again after a weighting before the
    /// stage has left clients out.
    /// </summary>
    /// <param name="plan">The round's clients and tensors; without statistics.</param>
    /// <exception cref="RoundRejectedException">
    /// The rule cannot be computed; <see cref="RoundPlan.Refuse"/> creates the exception.
    /// </exception>
    public virtual void Check(RoundPlan plan) { }
}
