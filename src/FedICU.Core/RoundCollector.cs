using FedICU.Safetensors;

namespace FedICU;

/// <summary>How long a server waits for its clients.</summary>
public sealed record RoundCollectorOptions
{
    /// <summary>The round is complete when so many have come, at least 1.</summary>
    public required int ExpectedClients { get; init; }

    /// <summary>So many are enough when the deadline passes. <value>Default: null, all that are expected.</value></summary>
    public int? MinimumClients { get; init; }

    /// <summary>How long is waited at most, from the collector's making: more than 0, up to 49 days. <value>Default: null, for ever.</value></summary>
    public TimeSpan? Deadline { get; init; }

    /// <summary>The clock. <value>Default: the system's.</value></summary>
    public TimeProvider TimeProvider { get; init; } = TimeProvider.System;
}

/// <summary>Collects clients' updates as they arrive, from any thread, until all that are expected have come or the deadline passes.</summary>
public sealed class RoundCollector : IDisposable
{
    // the timers of .NET count milliseconds in 32 bits
    private static readonly TimeSpan LongestDeadline = TimeSpan.FromDays(49);

    private readonly Lock _gate = new();
    private readonly Dictionary<string, ClientUpdate> _updates = new(StringComparer.Ordinal);
    private readonly TaskCompletionSource _complete = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TensorSource _global;
    private readonly RoundCollectorOptions _options;
    private readonly ITimer? _timer;
    private bool _closed, _disposed;

    /// <summary>Begins to wait.</summary>
    /// <param name="global">The model that was sent to the clients; borrowed.</param>
    /// <param name="options">How many clients, how long.</param>
    /// <exception cref="InvalidOptionsException">The numbers contradict each other; the message lists all errors.</exception>
    public RoundCollector(TensorSource global, RoundCollectorOptions options)
    {
        ArgumentNullException.ThrowIfNull(global);
        ArgumentNullException.ThrowIfNull(options);
        var errors = new List<string>();
        if (options.ExpectedClients < 1)
            errors.Add($"The expected clients are {options.ExpectedClients}; at least 1 was expected.");
        if (options.MinimumClients is { } minimum && (minimum < 1 || minimum > options.ExpectedClients))
            errors.Add($"The minimum of clients is {minimum}; from 1 to the {options.ExpectedClients} expected ones was expected.");
        if (options.Deadline is { } deadline && (deadline <= TimeSpan.Zero || deadline > LongestDeadline))
            errors.Add($"The deadline is {deadline}; more than 0 and at most {LongestDeadline.Days} days was expected.");
        if (errors.Count > 0)
            throw new InvalidOptionsException(errors);
        (_global, _options) = (global, options);
        if (options.Deadline is { } wait)
            _timer = options.TimeProvider.CreateTimer(_ => Close(), null, wait, Timeout.InfiniteTimeSpan);
    }

    /// <summary>How many have come.</summary>
    public int Count
    {
        get
        {
            lock (_gate)
                return _updates.Count;
        }
    }

    /// <summary>Adds an update.</summary>
    /// <returns>False where it came too late: the round is closed.</returns>
    /// <exception cref="RoundRejectedException">The client has already sent one.</exception>
    public bool Add(ClientUpdate update)
    {
        ArgumentNullException.ThrowIfNull(update);
        lock (_gate)
        {
            if (_closed)
                return false;
            if (!_updates.TryAdd(update.Id, update))
                throw new RoundRejectedException(RoundFault.Round, $"Client {Sentence.Quote(update.Id)} was added twice; ids must be unique.", update.Id);
            _closed = _updates.Count == _options.ExpectedClients;
        }

        if (_closed)
            _complete.TrySetResult();
        return true;
    }

    /// <summary>Waits until the round is complete or the deadline passes, and hands over what has come.</summary>
    /// <param name="options">The round's options; null: the defaults.</param>
    /// <param name="cancellationToken">Ends the waiting; the collector goes on collecting.</param>
    /// <exception cref="RoundRejectedException">The deadline passed with fewer than the minimum of clients.</exception>
    public async Task<AggregationRound> CompleteAsync(RoundOptions? options = null, CancellationToken cancellationToken = default)
    {
        await _complete.Task.WaitAsync(cancellationToken).ConfigureAwait(false);
        var round = new AggregationRound(_global, options ?? new RoundOptions());
        lock (_gate)
        {
            int minimum = _options.MinimumClients ?? _options.ExpectedClients;
            if (_updates.Count < minimum)
            {
                throw new RoundRejectedException(
                    RoundFault.Round, $"{(_disposed ? "When the collector was disposed" : "At the deadline")} {_updates.Count} of {Sentence.Count(_options.ExpectedClients, "expected client")} had sent an update; at least {minimum} must.");
            }

            foreach (ClientUpdate update in _updates.Values)
                round.Add(update);
        }

        return round;
    }

    /// <summary>Stops the clock; a round that still waits is closed with what has come.</summary>
    public void Dispose()
    {
        _timer?.Dispose();
        lock (_gate)
            _disposed |= !_closed;
        Close();
    }

    private void Close()
    {
        lock (_gate)
            _closed = true;
        _complete.TrySetResult();
    }
}
