using FedICU.Text;

namespace FedICU;

/// <summary>
/// Collects clients' updates as they arrive, from any thread, until all expected clients have sent one or the deadline
/// passes. Over a session (<see cref="Over"/>) it continues after a restart, and the same clients are in time.
/// </summary>
public sealed class RoundCollector : IDisposable
{
    // derived: .NET's timers count milliseconds in 32 bits, 49.7 days
    private static readonly TimeSpan LongestDeadline = TimeSpan.FromDays(49);

    private readonly Lock _gate = new();
    private readonly Dictionary<string, ClientUpdate> _updates = new(StringComparer.Ordinal);
    private readonly TaskCompletionSource _complete = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TensorSource _global;
    private readonly RoundCollectorOptions _options;
    private readonly AggregationSession? _session;
    private readonly ITimer? _timer;
    private bool _closed, _disposed;

    /// <summary>Creates a collector and starts its clock.</summary>
    /// <param name="global">The model that was sent to the clients; borrowed.</param>
    /// <param name="options">The number of clients and the deadline.</param>
    /// <exception cref="InvalidOptionsException">
    /// The numbers contradict each other; the message lists all errors.
    /// </exception>
    public RoundCollector(TensorSource global, RoundCollectorOptions options) : this(global, options, null)
    {
    }

    private RoundCollector(TensorSource global, RoundCollectorOptions options, AggregationSession? session)
    {
        ArgumentNullException.ThrowIfNull(global);
        ArgumentNullException.ThrowIfNull(options);
        var errors = new List<string>();
        if (options.ExpectedClients < 1)
            errors.Add($"The number of expected clients is {options.ExpectedClients}; at least 1 was expected.");
        if (options.MinimumClients is { } minimum && (minimum < 1 || minimum > options.ExpectedClients))
        {
            errors.Add(
                $"The minimum number of clients is {minimum}; at least 1 and at most {options.ExpectedClients}, " +
                "the number of expected clients, was expected.");
        }

        if (options.Deadline is { } deadline && (deadline <= TimeSpan.Zero || deadline > LongestDeadline))
            errors.Add($"The deadline is {deadline}; more than 0 and at most {LongestDeadline.Days} days was expected.");
        if (errors.Count > 0)
            throw new InvalidOptionsException(errors);
        (_global, _options, _session) = (global, options, session);
        session?.Attach(this);
        TimeSpan? left = ComputeTimeLeft();
        if (left <= TimeSpan.Zero || session is { IsRoundClosed: true } || session is not null && IsFull(session.InTimeCount))
            Close();
        else if (left is { } wait)
            _timer = options.TimeProvider.CreateTimer(_ => Close(), null, wait, Timeout.InfiniteTimeSpan);
    }

    /// <summary>
    /// Creates a collector of a session's updates: those it has already, in the order of arrival, and those that arrive
    /// from now on. The session's journal stores when the round was closed, so the same clients are in time after a
    /// restart.
    /// </summary>
    /// <param name="session">The session; borrowed. It has one collector at a time.</param>
    /// <param name="options">The number of clients and the deadline; the same after a restart.</param>
    /// <exception cref="InvalidOptionsException">
    /// The numbers contradict each other; the message lists all errors.
    /// </exception>
    /// <exception cref="InvalidOperationException">The session has another collector.</exception>
    /// <exception cref="ObjectDisposedException">The session was disposed or deleted.</exception>
    public static RoundCollector Over(AggregationSession session, RoundCollectorOptions options)
    {
        ArgumentNullException.ThrowIfNull(session);
        return new RoundCollector(session.Global, options, session);
    }

    /// <summary>The number of updates that came in time.</summary>
    public int Count
    {
        get
        {
            if (_session is not null)
                return _session.InTimeCount;
            lock (_gate)
                return _updates.Count;
        }
    }

    /// <summary>
    /// Adds an update. Over a session, an update that is not in the session yet is added to it first, as
    /// <see cref="AddAsync"/> does.
    /// </summary>
    /// <returns>False if the update came too late: the round is closed.</returns>
    /// <exception cref="RoundRejectedException">
    /// The client has sent one already; over a session: the session refused it.
    /// </exception>
    public bool Add(ClientUpdate update)
    {
        ArgumentNullException.ThrowIfNull(update);
        if (_session is not null)
            return (_session.Find(update) ?? _session.ArriveAsync(update, default).GetAwaiter().GetResult()).InTime;
        lock (_gate)
        {
            if (_closed)
                return false;
            if (!_updates.TryAdd(update.Id, update))
            {
                throw new RoundRejectedException(
                    RoundFault.Round, $"Client {Sentence.Quote(update.Id)} was added twice; ids must be unique.", update.Id);
            }

            _closed = IsFull(_updates.Count);
        }

        if (_closed)
            _complete.TrySetResult();
        return true;
    }

    /// <summary>
    /// Adds an update; over a session, checks and copies it as <see cref="AggregationSession.AddAsync"/> does.
    /// </summary>
    /// <param name="update">The update.</param>
    /// <param name="cancellationToken">Ends the copying; the update is not added.</param>
    /// <returns>
    /// False if the update came too late: the round is closed. A session keeps the update nevertheless.
    /// </returns>
    /// <exception cref="RoundRejectedException">The update is refused, or its client has sent one already.</exception>
    /// <exception cref="FedIcuException">The session's folder cannot be written.</exception>
    public async Task<bool> AddAsync(ClientUpdate update, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(update);
        return _session is null ? Add(update) : (await _session.ArriveAsync(update, cancellationToken).ConfigureAwait(false)).InTime;
    }

    /// <summary>Waits until the round is complete or the deadline passes.</summary>
    /// <param name="options">The round's options; null: the session's, without a session the defaults.</param>
    /// <param name="cancellationToken">Ends the waiting; the collector continues to collect.</param>
    /// <returns>The round of the updates that came in time.</returns>
    /// <exception cref="RoundRejectedException">The deadline passed with fewer clients than the minimum.</exception>
    /// <exception cref="FedIcuException">The session's folder cannot be written; the call may be repeated.</exception>
    /// <exception cref="ObjectDisposedException">
    /// A collector over a session was disposed before the round was closed, or the session was.
    /// </exception>
    public async Task<AggregationRound> CompleteAsync(RoundOptions? options = null, CancellationToken cancellationToken = default)
    {
        await _complete.Task.WaitAsync(cancellationToken).ConfigureAwait(false);
        AggregationRound round;
        if (_session is not null)
        {
            // tries again if the journal could not be written at the deadline
            _session.CloseRound();
            round = _session.ToRound(options);
        }
        else
        {
            round = new AggregationRound(_global, options ?? new RoundOptions());
            lock (_gate)
            {
                foreach (ClientUpdate update in _updates.Values)
                    round.Add(update);
            }
        }

        int minimum = _options.MinimumClients ?? _options.ExpectedClients;
        if (round.Updates.Count >= minimum)
            return round;
        string when = _disposed ? "When the collector was disposed" : "At the deadline";
        string expected = Sentence.Count(_options.ExpectedClients, "expected client");
        throw new RoundRejectedException(
            RoundFault.Round, $"{when} {round.Updates.Count} of {expected} had sent an update; at least {minimum} must.");
    }

    /// <summary>
    /// Stops the clock. A round in memory is closed with the updates that have arrived. A session's round stays open,
    /// for a collector after a restart; <see cref="CompleteAsync"/> throws.
    /// </summary>
    public void Dispose()
    {
        _timer?.Dispose();
        if (_session is not null)
        {
            _session.Detach(this);
            _complete.TrySetException(new ObjectDisposedException(nameof(RoundCollector)));
            return;
        }

        lock (_gate)
            _disposed |= !_closed;
        Close();
    }

    /// <summary>Whether this number of updates completes the round.</summary>
    internal bool IsFull(int count) => count >= _options.ExpectedClients;

    /// <summary>Completes the waiting: the session's round was closed.</summary>
    internal void Complete() => _complete.TrySetResult();

    /// <summary>
    /// Computes the time until the deadline; null if there is none. A session's time runs from its creation, if that is
    /// known.
    /// </summary>
    private TimeSpan? ComputeTimeLeft()
    {
        if (_options.Deadline is not { } deadline || _session?.Begun is not { } begun)
            return _options.Deadline;
        TimeSpan left = begun + deadline - _options.TimeProvider.GetUtcNow();
        // a clock that was set back must not extend the deadline
        return left < deadline ? left : deadline;
    }

    private void Close()
    {
        _session?.TryCloseRound();
        lock (_gate)
            _closed = true;
        _complete.TrySetResult();
    }
}
