using FedICU.Errors;
using FedICU.Files;
using FedICU.Rounds.Sessions;
using FedICU.Text;

namespace FedICU;

/// <summary>
/// A round that receives one update at a time, over hours and restarts. Each update is checked as it arrives and copied
/// into the session's folder as it was sent; it counts once it is on the disk. Any rule can aggregate the round, the
/// order of arrival has no effect on the result, and a retracted client has none. Thread-safe.
/// </summary>
/// <remarks>
/// On disk an update takes the bytes it was sent with: 4 for each element in F32, 2 in F16 and BF16. In memory it takes
/// a few hundred bytes.
/// </remarks>
public sealed class AggregationSession : IDisposable
{
    private readonly Lock _gate = new();
    private readonly HashSet<string> _arriving = new(StringComparer.Ordinal);
    private readonly string _folder;
    private readonly SessionSpool _spool;
    private readonly SessionJournal _journal;
    private readonly SessionIntake _intake;
    private readonly SessionArrivals _arrivals;
    private readonly SessionClosing _closing;

    private AggregationSession(
        string folder, TensorSource global, RoundOptions options, SessionOptions arrivalOptions, JournalLine first, SessionJournal journal,
        SessionReplay replay)
    {
        (_folder, Global, Options, _journal) = (folder, global, options, journal);
        (BaseDigest, Begun, _spool) = (first.Base!, first.Begun, new SessionSpool(folder));
        _intake = new SessionIntake(global, BaseDigest, options, arrivalOptions, _spool);
        _arrivals = new SessionArrivals(options, arrivalOptions.RequireWeights, replay.LastNumber);
        _closing = new SessionClosing(journal, arrivalOptions.TimeProvider, replay.IsRoundClosed);
    }

    /// <summary>The digest of the global model, as <see cref="ModelDigest"/> writes it.</summary>
    public string BaseDigest { get; }

    /// <summary>The round's options, with the number of the round that the session was created with.</summary>
    public RoundOptions Options { get; }

    /// <summary>
    /// When the session was created; null if a version of the library created it that did not store the time.
    /// </summary>
    public DateTimeOffset? Begun { get; }

    /// <summary>Whether the round was closed: updates that arrive now are too late for it.</summary>
    public bool IsRoundClosed => _closing.IsClosed;

    /// <summary>
    /// The updates that have arrived, in the ordinal order of their clients' ids. They are the copies in the session's
    /// folder and valid until they are retracted.
    /// </summary>
    public IReadOnlyList<ClientUpdate> Updates
    {
        get
        {
            lock (_gate)
                return [.. _arrivals.All.Select(arrival => arrival.Update)];
        }
    }

    /// <summary>
    /// The same updates in the order of their arrival, and whether each came in time. A restart changes neither.
    /// </summary>
    public IReadOnlyList<SessionArrival> Arrivals
    {
        get
        {
            lock (_gate)
                return [.. _arrivals.All.OrderBy(arrival => arrival.Number)];
        }
    }

    internal TensorSource Global { get; }

    /// <summary>The number of updates that are part of the round.</summary>
    internal int InTimeCount
    {
        get
        {
            lock (_gate)
                return _arrivals.InTimeCount;
        }
    }

    /// <summary>Creates a session.</summary>
    /// <param name="folder">The session's folder; it is created if it is missing and must be empty otherwise.</param>
    /// <param name="global">The model that was sent to the clients; borrowed. It is read once, for its digest.</param>
    /// <param name="options">The round's options; of them only the round's number is saved. Null: the defaults.</param>
    /// <param name="arrivals">What each update must satisfy as it arrives. Null: the defaults.</param>
    /// <param name="cancellationToken">Ends the reading.</param>
    /// <exception cref="FedIcuException">
    /// The folder holds a session or something else, or cannot be written; the options contradict their rules.
    /// </exception>
    public static AggregationSession Create(
        string folder, TensorSource global, RoundOptions? options = null, SessionOptions? arrivals = null,
        CancellationToken cancellationToken = default) =>
        Start(folder, global, options, arrivals, create: true, open: false, cancellationToken);

    /// <summary>
    /// Opens a session after a restart. All its files are read once and checked against their checksums.
    /// </summary>
    /// <param name="folder">The session's folder.</param>
    /// <param name="global">The model that the session was created with; borrowed.</param>
    /// <param name="options">
    /// The same options as at the session's creation. If <see cref="RoundOptions.OnUnreadable"/> drops clients, a
    /// session with damaged files opens: their clients stay in <see cref="Updates"/>, and the round leaves them out and
    /// says why, unless they are retracted.
    /// </param>
    /// <param name="arrivals">What each update must satisfy as it arrives. Null: the defaults.</param>
    /// <param name="cancellationToken">Ends the reading.</param>
    /// <exception cref="RoundRejectedException">
    /// The session belongs to another global model or round; a client's file is damaged or missing.
    /// </exception>
    /// <exception cref="FedIcuException">
    /// The folder holds no session, or one that is damaged or open elsewhere; the options contradict their rules.
    /// </exception>
    public static AggregationSession Open(
        string folder, TensorSource global, RoundOptions? options = null, SessionOptions? arrivals = null,
        CancellationToken cancellationToken = default) =>
        Start(folder, global, options, arrivals, create: false, open: true, cancellationToken);

    /// <summary>
    /// Opens the folder's session, or creates one if there is none: for a server that starts the same way the first
    /// time and every time after.
    /// </summary>
    /// <inheritdoc cref="Open"/>
    public static AggregationSession OpenOrCreate(
        string folder, TensorSource global, RoundOptions? options = null, SessionOptions? arrivals = null,
        CancellationToken cancellationToken = default) =>
        Start(folder, global, options, arrivals, create: true, open: true, cancellationToken);

    /// <summary>
    /// Checks an update as a round does and copies it into the session's folder, byte for byte. When the task
    /// completes, the copy is on the disk, and the update's own file or memory is no longer used.
    /// </summary>
    /// <param name="update">
    /// The update. It is refused for any fault for which the policies would drop its client, and for a weight that does
    /// not fit the other updates' weights.
    /// </param>
    /// <param name="cancellationToken">Ends the copying; the update is not added.</param>
    /// <returns>The copy. <see cref="Arrivals"/> says whether it came in time.</returns>
    /// <exception cref="RoundRejectedException">
    /// The update is refused, or its client has sent one already; names client, tensor, expected and found.
    /// </exception>
    /// <exception cref="FedIcuException">The folder cannot be written.</exception>
    /// <exception cref="OperationCanceledException">The copying was cancelled.</exception>
    /// <exception cref="ObjectDisposedException">The session was disposed or deleted.</exception>
    public async Task<ClientUpdate> AddAsync(ClientUpdate update, CancellationToken cancellationToken = default) =>
        (await ArriveAsync(update, cancellationToken).ConfigureAwait(false)).Update;

    /// <summary>
    /// Removes an update and its file, as if it had never been added. The client may send another one.
    /// </summary>
    /// <param name="id">The client.</param>
    /// <exception cref="RoundRejectedException">The client has no update in the session.</exception>
    /// <exception cref="FedIcuException">The folder cannot be written.</exception>
    /// <exception cref="ObjectDisposedException">The session was disposed or deleted.</exception>
    public void Retract(string id)
    {
        ArgumentNullException.ThrowIfNull(id);
        string path;
        lock (_gate)
        {
            ThrowIfDisposed();
            SessionArrival arrival = _arrivals.Find(id) ??
                throw new RoundRejectedException(RoundFault.Round, $"Client {Sentence.Quote(id)} has no update in the session.", id);
            path = arrival.Update.Path!;
            _closing.WriteIfDue();
            _journal.Append(new JournalLine { Retract = id });
            _arrivals.Remove(arrival);
        }

        SessionSpool.Remove(path);
    }

    /// <summary>
    /// Closes the round: updates that arrive from now on are kept, but are too late. The journal stores it, so a
    /// restart changes nothing.
    /// </summary>
    /// <exception cref="FedIcuException">The folder cannot be written.</exception>
    /// <exception cref="ObjectDisposedException">The session was disposed or deleted.</exception>
    public void CloseRound()
    {
        lock (_gate)
        {
            ThrowIfDisposed();
            _closing.Close();
        }
    }

    /// <summary>
    /// Creates the round of all updates that have come in time so far. An update that is retracted before the round is
    /// over may be missing from the result.
    /// </summary>
    /// <param name="options">Null: <see cref="Options"/>.</param>
    public AggregationRound ToRound(RoundOptions? options = null)
    {
        var round = new AggregationRound(Global, options ?? Options);
        lock (_gate)
        {
            foreach (SessionArrival arrival in _arrivals.All.Where(arrival => arrival.InTime))
                round.Add(arrival.Update);
        }

        return round;
    }

    /// <summary>Ends the session and removes its files, and its folder if nothing else is in it.</summary>
    /// <exception cref="FedIcuException">The folder cannot be written; the session still exists.</exception>
    /// <exception cref="ObjectDisposedException">The session was disposed or deleted.</exception>
    public void Delete()
    {
        lock (_gate)
        {
            ThrowIfDisposed();
            // in this order, so that a crash at any point leaves a whole session or none
            _journal.Clear();
            _arrivals.Clear();
            _spool.RemoveAllBut([]);
            _journal.Remove();
        }

        try
        {
            Directory.Delete(_folder);
        }
        catch (Exception e) when (ModelFile.IsFileError(e))
        {
            // not empty: the other files are not the session's
        }
    }

    /// <summary>
    /// Closes the session, which stays on the disk. Updates that are still being copied are not added.
    /// </summary>
    public void Dispose()
    {
        lock (_gate)
            _journal.Dispose();
    }

    /// <summary>Lets a collector decide when the round is closed.</summary>
    /// <exception cref="InvalidOperationException">The session has another collector.</exception>
    internal void Attach(RoundCollector collector)
    {
        lock (_gate)
        {
            ThrowIfDisposed();
            _closing.Attach(collector);
        }
    }

    internal void Detach(RoundCollector collector)
    {
        lock (_gate)
            _closing.Detach(collector);
    }

    /// <summary>Finds the arrival of an update; null if the update is not this session's or was retracted.</summary>
    internal SessionArrival? Find(ClientUpdate update)
    {
        lock (_gate)
            return _arrivals.Find(update.Id) is { } arrival && ReferenceEquals(arrival.Update, update) ? arrival : null;
    }

    internal Task<SessionArrival> ArriveAsync(ClientUpdate update, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(update);
        return Task.Run(() => Add(update, cancellationToken), cancellationToken);
    }

    /// <summary>
    /// Closes the round. If the journal cannot be written, the next change of the session tries again.
    /// </summary>
    internal void TryCloseRound()
    {
        lock (_gate)
        {
            if (!_journal.IsClosed)
                _closing.TryClose();
        }
    }

    private static AggregationSession Start(
        string folder, TensorSource global, RoundOptions? options, SessionOptions? arrivals, bool create, bool open,
        CancellationToken cancellationToken)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        ArgumentNullException.ThrowIfNull(global);
        options ??= new RoundOptions();
        arrivals ??= new SessionOptions();
        options.Validate();
        if (global.DescribeNoModel() is { } other)
            throw new RoundRejectedException(RoundFault.Round, other);
        SessionJournal journal = SessionOpening.OpenJournal(
            folder, global, options, arrivals.TimeProvider, create, open, out List<JournalLine> lines, cancellationToken);
        try
        {
            options = options with { Round = options.Round ?? lines[0].Round };
            var replay = new SessionReplay(folder, lines);
            var session = new AggregationSession(folder, global, options, arrivals, lines[0], journal, replay);
            replay.RestoreArrivals(session._spool, options, cancellationToken).ForEach(session._arrivals.Add);
            return session;
        }
        catch
        {
            journal.Dispose();
            throw;
        }
    }

    private SessionArrival Add(ClientUpdate update, CancellationToken cancellationToken)
    {
        string name = $"Client {Sentence.Quote(update.Id)}";
        if (!Sentence.IsUnicode(update.Id))
        {
            throw new RoundRejectedException(
                RoundFault.Round, $"{name} has an id with half of a surrogate pair; valid Unicode was expected.", update.Id);
        }

        lock (_gate)
        {
            ThrowIfDisposed();
            if (_arrivals.Find(update.Id) is not null || !_arriving.Add(update.Id))
                throw new RoundRejectedException(RoundFault.Round, $"{name} was added twice; ids must be unique.", update.Id);
        }

        string? path = null;
        bool added = false;
        try
        {
            JournalLine line = _intake.Copy(update, ref path, CheckWeight, cancellationToken);
            ClientUpdate copy = _spool.OpenUpdate(line, fault: null);
            lock (_gate)
            {
                ThrowIfDisposed();
                // again, as others may have arrived while this one was copied
                _arrivals.CheckWeight(name, update.Id, line.Weight);
                _closing.WriteIfDue();
                _journal.Append(line);
                added = true;
                SessionArrival arrival = _arrivals.AddNext(copy, inTime: !IsRoundClosed);
                if (arrival.InTime)
                    _closing.CloseIfFull(_arrivals.InTimeCount);
                return arrival;
            }
        }
        catch (InvalidModelException e)
        {
            RoundFault fault = e is ChangedModelException ? RoundFault.Changed : RoundFault.Unreadable;
            throw new RoundRejectedException(fault, $"{name}: {e.Message}", update.Id);
        }
        finally
        {
            if (!added && path is not null)
                SessionSpool.Remove(path);
            lock (_gate)
                _arriving.Remove(update.Id);
        }
    }

    private void CheckWeight(string name, string id, double? stated)
    {
        lock (_gate)
            _arrivals.CheckWeight(name, id, stated);
    }

    private void ThrowIfDisposed() => ObjectDisposedException.ThrowIf(_journal.IsClosed, this);
}
