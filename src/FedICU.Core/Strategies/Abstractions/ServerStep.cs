using FedICU.Compute;

namespace FedICU;

/// <summary>
/// A stage that changes the merged update before it is added to the global model and rounded: a server optimizer,
/// noise. It works element by element, in float64.
/// </summary>
public abstract class ServerStep : Stage
{
    /// <summary>Gets the state that the step keeps between rounds. <value>Default: none.</value></summary>
    public virtual IReadOnlyList<StateSlot> State => [];

    /// <summary>
    /// Returns sums over the clients that the step reads beside the merged update (<see cref="ElementBlock.Sum"/>). By
    /// default none.
    /// </summary>
    /// <param name="plan">The round's plan, after all weightings.</param>
    public virtual IReadOnlyList<ClientSum> GetSums(RoundPlan plan) => [];

    /// <summary>
    /// Computes the server's update from the merged one, and the new state from the old, in place. Called by several
    /// threads at once.
    /// </summary>
    /// <param name="block">Consecutive elements of one tensor.</param>
    public abstract void Apply(ElementBlock block);

    /// <summary>
    /// Returns the step as a verb, if it is one whose state is its first and its second moment; otherwise null.
    /// </summary>
    internal virtual AdaptiveStep? GetAdaptiveStep(RoundPlan plan) => null;

    /// <summary>Returns whether the step, which keeps no state, leaves this round's updates as they are.</summary>
    internal virtual bool IsIdle(RoundPlan plan) => false;

    /// <summary>Gets whether the state sums the clients' updates (<see cref="GetSums"/>).</summary>
    internal virtual bool SumsClients => false;
}
