using FedICU.Text;

namespace FedICU;

/// <summary>
/// Collects clients' updates as they arrive, from any thread, until all expected clients have sent one or the deadline
/// passes. Over a session (<see cref="Over"/>) it continues after a restart, and the same clients are in time.
/// </summary>
public sealed class RoundCollector : IDisposable
{
    private readonly Lock _gate = new();
    private readonly Dictionary<string, ClientUpdate> _updates = new(StringComparer.Ordinal);
    private readonly TaskCompletionSource _complete = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TensorSource _global;
    private readonly RoundCollectorOptions _options;
    private readonly AggregationSession? _session;
    private readonly ITimer? _timer;
    private bool _closed, _disposed, _timedOut;

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
        List<string> errors = options.ListErrors();
        if (errors.Count > 0)
            throw new InvalidOptionsException(errors);
        (_global, _options, _session) = (global, options, session);
        session?.Attach(this);
        TimeSpan? left = ComputeTimeLeft();
        if (left <= TimeSpan.Zero)
            EndInTime();
        else if (session is { IsSealed: true } || session is not null && IsFull(session.Count))
            Close();
        else if (left is { } wait)
            _timer = options.TimeProvider.CreateTimer(_ => EndInTime(), null, wait, Timeout.InfiniteTimeSpan);
    }

    /// <summary>
    /// Creates a collector of a session's updates: those it has already, in the order of arrival, and those that arrive
    /// from now on. The session's journal stores when the round was sealed, so the same clients are in time after a
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
                return _session.Count;
            lock (_gate)
                return _updates.Count;
        }
    }

    /// <summary>
    /// Adds an update. Over a session, an update that is not in the session yet is added to it first, as
    /// <see cref="AddAsync"/> does.
    /// </summary>
    /// <returns>The update, and whether the client had sent it before.</returns>
    /// <exception cref="RoundRejectedException">
    /// The round is complete (<see cref="RoundFault.Late"/>), or the client has sent another one
    /// (<see cref="RoundFault.Duplicate"/>); over a session: the session refused it.
    /// </exception>
    public UpdateReceipt Add(ClientUpdate update)
    {
        ArgumentNullException.ThrowIfNull(update);
        if (_session is not null)
            return _session.Find(update) ?? _session.AddAsync(update).GetAwaiter().GetResult();
        string name = $"Client {Sentence.Quote(update.Id)}";
        lock (_gate)
        {
            if (_updates.TryGetValue(update.Id, out ClientUpdate? known))
            {
                return ReferenceEquals(known, update)
                    ? new UpdateReceipt(known, IsRepeated: true)
                    : throw new RoundRejectedException(RoundFault.Duplicate, $"{name} was added twice; ids must be unique.", update.Id);
            }

            if (_closed)
                throw new RoundRejectedException(RoundFault.Late, $"{name}: the round is complete; its update came too late.", update.Id);
            _updates.Add(update.Id, update);
            _closed = IsFull(_updates.Count);
        }

        if (_closed)
            _complete.TrySetResult();
        return new UpdateReceipt(update, IsRepeated: false);
    }

    /// <summary>
    /// Adds an update; over a session, checks and copies it as the session's own method does. A session also takes
    /// updates as streams; its collector counts them.
    /// </summary>
    /// <param name="update">The update.</param>
    /// <param name="cancellationToken">Ends the copying; the update is not added.</param>
    /// <returns>The update, and whether the client had sent it before.</returns>
    /// <exception cref="RoundRejectedException">
    /// The update is refused or comes too late, or its client has sent another one.
    /// </exception>
    /// <exception cref="FedIcuException">The session's folder cannot be written.</exception>
    public async Task<UpdateReceipt> AddAsync(ClientUpdate update, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(update);
        return _session is null ? Add(update) : await _session.AddAsync(update, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Waits until the round is complete or the deadline passes.</summary>
    /// <param name="options">The round's options; null: the session's, without a session the defaults.</param>
    /// <param name="cancellationToken">Ends the waiting; the collector continues to collect.</param>
    /// <returns>The round of the updates that came in time.</returns>
    /// <exception cref="RoundRejectedException">
    /// The round ended with fewer clients than the minimum (<see cref="RoundFault.Quorum"/>): the deadline passed, or
    /// an update was retracted after the seal.
    /// </exception>
    /// <exception cref="FedIcuException">The session's folder cannot be written; the call may be repeated.</exception>
    /// <exception cref="ObjectDisposedException">
    /// A collector over a session was disposed before the round was sealed, or the session was.
    /// </exception>
    public async Task<AggregationRound> CompleteAsync(RoundOptions? options = null, CancellationToken cancellationToken = default)
    {
        await _complete.Task.WaitAsync(cancellationToken).ConfigureAwait(false);
        AggregationRound round;
        if (_session is not null)
        {
            // tries again if the journal could not be written at the deadline
            _session.Seal();
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
        string clients = $"{round.Updates.Count} of {Sentence.Count(_options.ExpectedClients, "expected client")}";
        string? end = _disposed ? "When the collector was disposed" : _timedOut ? "At the deadline" : null;
        throw new RoundRejectedException(RoundFault.Quorum, end is not null
            ? $"{end} {clients} had sent an update; at least {minimum} must."
            // sealed by the caller, or an update was retracted afterwards
            : $"The round is sealed with updates of {clients}; at least {minimum} must be there.");
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

    /// <summary>Completes the waiting: the session's round was sealed.</summary>
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

    private void EndInTime()
    {
        _timedOut = true;
        Close();
    }

    private void Close()
    {
        _session?.TrySeal();
        lock (_gate)
            _closed = true;
        _complete.TrySetResult();
    }
}
