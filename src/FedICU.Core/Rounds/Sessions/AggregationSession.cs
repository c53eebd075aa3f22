using FedICU.Errors;
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
public sealed partial class AggregationSession : IDisposable
{
    private readonly Lock _gate = new();
    private readonly string _folder;
    private readonly SessionSpool _spool;
    private readonly SessionJournal _journal;
    private readonly SessionIntake _intake;
    private readonly SessionArrivals _arrivals;
    private readonly SessionSeal _seal;
    private readonly ClientTurns _turns = new();
    private readonly SessionUploads _uploads = new();

    // files of updates whose lines may be in the journal after a disk fault; removed once it is repaired
    private readonly List<string> _uncertain = [];
    private bool _isEnded;

    private AggregationSession(
        string folder, TensorSource global, RoundOptions options, SessionOptions arrivalOptions, JournalLine first, SessionJournal journal,
        SessionReplay replay)
    {
        (_folder, Global, Options, _journal) = (folder, global, options, journal);
        (BaseDigest, Begun, _spool) = (first.Base!, first.Begun, new SessionSpool(folder));
        _intake = new SessionIntake(global, BaseDigest, options, arrivalOptions, _spool);
        _arrivals = new SessionArrivals(options, arrivalOptions.RequireWeights, replay.LastNumber);
        // a client whose update is stored gets its answer also after the seal
        _seal = new SessionSeal(
            journal, arrivalOptions.TimeProvider, replay.IsSealed, () => _uploads.End(client => _arrivals.Find(client) is null));
    }

    /// <summary>The digest of the global model, as <see cref="ModelDigest"/> writes it.</summary>
    public string BaseDigest { get; }

    /// <summary>The round's options, with the number of the round that the session was created with.</summary>
    public RoundOptions Options { get; }

    /// <summary>
    /// When the session was created; null if a version of the library created it that did not store the time.
    /// </summary>
    public DateTimeOffset? Begun { get; }

    /// <summary>
    /// Whether the round was sealed, by <see cref="Seal"/> or by its collector: updates that arrive now are refused.
    /// </summary>
    public bool IsSealed => _seal.IsSealed;

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
    /// The same updates in the order of their arrival, which a restart does not change.
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

    /// <summary>The number of updates that have arrived.</summary>
    public int Count
    {
        get
        {
            lock (_gate)
                return _arrivals.Count;
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
            _seal.WriteIfDue();
            _journal.Append(new JournalLine { Retract = id });
            _arrivals.Remove(arrival);
        }

        SessionSpool.Remove(path);
    }

    /// <summary>
    /// Creates the round of all updates that have arrived so far. An update that is retracted before the round is
    /// over may be missing from the result.
    /// </summary>
    /// <param name="options">Null: <see cref="Options"/>.</param>
    public AggregationRound ToRound(RoundOptions? options = null)
    {
        var round = new AggregationRound(Global, options ?? Options);
        lock (_gate)
        {
            foreach (SessionArrival arrival in _arrivals.All)
                round.Add(arrival.Update);
        }

        return round;
    }

    /// <summary>Lets a collector decide when the round is sealed.</summary>
    /// <exception cref="InvalidOperationException">The session has another collector.</exception>
    internal void Attach(RoundCollector collector)
    {
        lock (_gate)
        {
            ThrowIfDisposed();
            _seal.Attach(collector);
        }
    }

    internal void Detach(RoundCollector collector)
    {
        lock (_gate)
            _seal.Detach(collector);
    }

    /// <summary>Finds an update of this session; null if it is another's or was retracted.</summary>
    internal UpdateReceipt? Find(ClientUpdate update)
    {
        lock (_gate)
            return ReferenceEquals(_arrivals.Find(update.Id)?.Update, update) ? new UpdateReceipt(update, IsRepeated: true) : null;
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

    private void ThrowIfDisposed() => ObjectDisposedException.ThrowIf(_isEnded, this);
}
