namespace FedICU;

/// <summary>How long a server waits for its clients.</summary>
public sealed record RoundCollectorOptions
{
    /// <summary>The round is complete when this number of clients have come, at least 1.</summary>
    public required int ExpectedClients { get; init; }

    /// <summary>
    /// The number of clients that is enough when the deadline passes. <value>Default: null, all that are expected.</value>
    /// </summary>
    public int? MinimumClients { get; init; }

    /// <summary>
    /// The longest time to wait, from the collector's making, or over a session from the session's beginning: more than 0, up to 49 days.
    /// <value>Default: null, for ever.</value>
    /// </summary>
    public TimeSpan? Deadline { get; init; }

    /// <summary>The clock. <value>Default: the system's.</value></summary>
    public TimeProvider TimeProvider { get; init; } = TimeProvider.System;
}
