namespace FedICU;

/// <summary>
/// What a session asks of each update as it arrives, beyond what a round asks. Applies to updates that arrive from now on; not saved.
/// </summary>
public sealed record SessionOptions
{
    /// <summary>
    /// Whether each client must state a weight. Where it need not, the updates that are in the session decide: beside a client with a
    /// weight one without is refused, and
    /// the other way round. <value>Default: false.</value>
    /// </summary>
    public bool RequireWeights { get; init; }

    /// <summary>
    /// Whether NaN and infinite values are counted while an update is copied, and refused on arrival. Tensors that the round would drop for
    /// them
    /// (<see cref="RoundOptions.OnNonFinite"/> is <see cref="FaultPolicy.DropTensor"/>) are left to the round. <value>Default: false, the
    /// round finds them.</value>
    /// </summary>
    public bool CheckValues { get; init; }

    /// <summary>The clock that says when the session began and when its round was closed. <value>Default: the system's.</value></summary>
    public TimeProvider TimeProvider { get; init; } = TimeProvider.System;
}
