namespace FedICU;

/// <summary>
/// The checks that a session makes on arrival in addition to a round's. They apply to updates that arrive from now on
/// and are not saved.
/// </summary>
public sealed record SessionOptions
{
    /// <summary>
    /// Whether each client must state a weight. If not, the updates in the session decide: if they have weights, an
    /// update without one is refused, and the other way round. <value>Default: false.</value>
    /// </summary>
    public bool RequireWeights { get; init; }

    /// <summary>
    /// Whether an update with NaN or infinite values is refused on arrival. The values are counted while the update is
    /// copied. If the round would only drop the tensors (<see cref="RoundOptions.OnNonFinite"/> is
    /// <see cref="FaultPolicy.DropTensor"/>), the check is left to the round. <value>Default: false, the round finds
    /// them.</value>
    /// </summary>
    public bool CheckValues { get; init; }

    /// <summary>
    /// The stages of the rule that will aggregate the round, where it takes updates that others do not:
    /// <c>flexlora</c>, <c>flora</c> and <c>hetlora</c> take other ranks than the global model's. <value>Default:
    /// null, every update must have the global model's shapes.</value>
    /// </summary>
    public IReadOnlyList<Stage>? Stages { get; init; }

    /// <summary>
    /// The clock for the times of the session's creation and of its round's seal. <value>Default: the
    /// system's.</value>
    /// </summary>
    public TimeProvider TimeProvider { get; init; } = TimeProvider.System;
}
