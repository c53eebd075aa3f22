namespace FedICU;

/// <summary>The options of a <see cref="RoundCollector"/>.</summary>
public sealed record RoundCollectorOptions
{
    // derived: .NET's timers count milliseconds in 32 bits, 49.7 days
    private static readonly TimeSpan LongestDeadline = TimeSpan.FromDays(49);

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

    /// <summary>Lists what is wrong with the options, one sentence each.</summary>
    internal List<string> ListErrors()
    {
        var errors = new List<string>();
        if (ExpectedClients < 1)
            errors.Add($"The number of expected clients is {ExpectedClients}; at least 1 was expected.");
        if (MinimumClients is { } minimum && (minimum < 1 || minimum > ExpectedClients))
        {
            errors.Add(
                $"The minimum number of clients is {minimum}; at least 1 and at most {ExpectedClients}, " +
                "the number of expected clients, was expected.");
        }

        if (Deadline is { } deadline && (deadline <= TimeSpan.Zero || deadline > LongestDeadline))
            errors.Add($"The deadline is {deadline}; more than 0 and at most {LongestDeadline.Days} days was expected.");
        return errors;
    }
}
