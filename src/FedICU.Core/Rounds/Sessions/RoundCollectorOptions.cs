namespace FedICU;

/// <summary>The options of a <see cref="RoundCollector"/>.</summary>
public sealed record RoundCollectorOptions
{
    /// <summary>The number of clients that completes the round, at least 1.</summary>
    public required int ExpectedClients { get; init; }

    /// <summary>
    /// The number of clients that is enough when the deadline passes. <value>Default: null, all expected
    /// clients.</value>
    /// </summary>
    public int? MinimumClients { get; init; }

    /// <summary>
    /// The longest time to wait, from the collector's creation, or over a session from the session's creation: more
    /// than 0, up to 49 days. <value>Default: null, no deadline.</value>
    /// </summary>
    public TimeSpan? Deadline { get; init; }

    /// <summary>The clock. <value>Default: the system's.</value></summary>
    public TimeProvider TimeProvider { get; init; } = TimeProvider.System;
}
