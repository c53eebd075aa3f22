using System.Collections.Concurrent;
using FedICU.Errors;
using FedICU.Files;
using FedICU.Rounds.Sessions;
using FedICU.Text;

namespace FedICU;

/// <summary>
/// A round fed one update at a time, over hours and restarts: each update is checked as it arrives, copied into the session's folder as it
/// was sent, and counts once it is
/// on the disk. The round over what has come is an ordinary one: any rule, the same bits for any order of arrival, and a retracted client
/// was never there. Thread-safe.
/// </summary>
/// <remarks>
/// On disk an update takes the bytes it was sent with: 4 for each element in F32, 2 in F16 and BF16; in memory some hundred bytes for each
/// client.
/// </remarks>
public sealed class AggregationSession : IDisposable
{
    // version 1 had neither the time of the beginning nor the closing of the round
    private const int Version = 2, OldestVersion = 1;

    // a sum of weights up to this is finite in every order of the clients
    private const double MostWeight = double.MaxValue / 2;

    private readonly Lock _gate = new();
    private readonly SortedDictionary<string, SessionArrival> _arrivals = new(StringComparer.Ordinal);
    private readonly HashSet<string> _arriving = new(StringComparer.Ordinal);
    private readonly string _folder;
    private readonly SessionSpool _spool;
    private readonly SessionJournal _journal;
    private readonly SessionOptions _arrivalOptions;
    private readonly SessionIntake _intake;
    private long _lastNumber;
    private int _inTime, _weighted;
    // the round is over, which the journal may not say yet
    private bool _due;
    private RoundCollector? _collector;

    private AggregationSession(
        string folder, TensorSource global, RoundOptions options, SessionOptions arrivalOptions, JournalLine first, SessionJournal journal)
    {
        (_folder, Global, Options, _arrivalOptions, _journal) = (folder, global, options, arrivalOptions, journal);
        (BaseDigest, Begun, _spool) = (first.Base!, first.Begun, new SessionSpool(folder));
        _intake = new SessionIntake(global, BaseDigest, options, arrivalOptions.CheckValues, _spool);
    }

    /// <summary>The digest of the global model, as <see cref="ModelDigest"/> writes it.</summary>
    public string BaseDigest { get; }

    /// <summary>How the round is run and how faults are treated; with the number of the round that the session was created with.</summary>
    public RoundOptions Options { get; }

    /// <summary>When the session was created; null where a version of the library created it that did not note the time.</summary>
    public DateTimeOffset? Begun { get; }

    /// <summary>Whether the round was closed: what arrives now is too late for it.</summary>
    public bool IsRoundClosed { get; private set; }

    /// <summary>
    /// The updates that have come, in the ordinal order of their clients' ids: the copies in the session's folder, valid until they are
    /// retracted.
    /// </summary>
    public IReadOnlyList<ClientUpdate> Updates
    {
        get
        {
            lock (_gate)
                return [.. _arrivals.Values.Select(arrival => arrival.Update)];
        }
    }

    /// <summary>The same updates in the order in which they arrived, with whether each came in time. A restart changes neither.</summary>
    public IReadOnlyList<SessionArrival> Arrivals
    {
        get
        {
            lock (_gate)
                return [.. _arrivals.Values.OrderBy(arrival => arrival.Number)];
        }
    }

    internal TensorSource Global { get; }

    /// <summary>How many updates are part of the round.</summary>
    internal int InTimeCount
    {
        get
        {
            lock (_gate)
                return _inTime;
        }
    }

    /// <summary>Begins a session.</summary>
    /// <param name="folder">A folder of its own; created where it is missing, else empty.</param>
    /// <param name="global">The model that was sent to the clients; borrowed. Read once, for its digest.</param>
    /// <param name="options">
    /// How the round is run and how faults are treated; not saved but for the round's number. Null: the defaults.
    /// </param>
    /// <param name="arrivals">What is asked of each update as it arrives. Null: the defaults.</param>
    /// <param name="cancellationToken">Ends the reading.</param>
    /// <exception cref="FedIcuException">
    /// The folder holds a session or something else, or cannot be written; the options contradict their rules.
    /// </exception>
    public static AggregationSession Create(
        string folder, TensorSource global, RoundOptions? options = null, SessionOptions? arrivals = null,
        CancellationToken cancellationToken = default) =>
        Start(folder, global, options, arrivals, create: true, open: false, cancellationToken);

    /// <summary>Opens a session after a restart. All its files are read once and held against their checksums.</summary>
    /// <param name="folder">The session's folder.</param>
    /// <param name="global">The same model as when it was created; borrowed.</param>
    /// <param name="options">
    /// As at the session's creation. With <see cref="RoundOptions.OnUnreadable"/> set to drop a client, a session opens whose files are
    /// damaged: the clients stay in
    /// <see cref="Updates"/> and the round leaves them out and says why, unless they are retracted.
    /// </param>
    /// <param name="arrivals">What is asked of each update as it arrives. Null: the defaults.</param>
    /// <param name="cancellationToken">Ends the reading.</param>
    /// <exception cref="RoundRejectedException">Another global model or round; a client's file that is damaged or gone.</exception>
    /// <exception cref="FedIcuException">
    /// The folder holds no session, or one that is damaged or open elsewhere; the options contradict their rules.
    /// </exception>
    public static AggregationSession Open(
        string folder, TensorSource global, RoundOptions? options = null, SessionOptions? arrivals = null,
        CancellationToken cancellationToken = default) =>
        Start(folder, global, options, arrivals, create: false, open: true, cancellationToken);

    /// <summary>
    /// Opens the folder's session, or begins one where there is none: for a server that does the same at its first start and at every
    /// other.
    /// </summary>
    /// <inheritdoc cref="Open"/>
    public static AggregationSession OpenOrCreate(
        string folder, TensorSource global, RoundOptions? options = null, SessionOptions? arrivals = null,
        CancellationToken cancellationToken = default) =>
        Start(folder, global, options, arrivals, create: true, open: true, cancellationToken);

    /// <summary>
    /// Checks an update as a round does and copies it into the session's folder, byte for byte as it was sent. When the task ends it is on
    /// the disk and its own file or memory
    /// is free.
    /// </summary>
    /// <param name="update">
    /// The update. A fault that the policies answer by dropping the client refuses it here; so does a weight that does not fit the other
    /// updates' weights.
    /// </param>
    /// <param name="cancellationToken">Ends the copying; the update was not added.</param>
    /// <returns>The copy. <see cref="Arrivals"/> says whether it came in time.</returns>
    /// <exception cref="RoundRejectedException">
    /// The update is refused, or its client has sent one already; names client, tensor, expected and found.
    /// </exception>
    /// <exception cref="FedIcuException">The folder cannot be written.</exception>
    /// <exception cref="OperationCanceledException">The copying was cancelled.</exception>
    /// <exception cref="ObjectDisposedException">The session was disposed or deleted.</exception>
    public async Task<ClientUpdate> AddAsync(ClientUpdate update, CancellationToken cancellationToken = default) =>
        (await ArriveAsync(update, cancellationToken).ConfigureAwait(false)).Update;

    /// <summary>Takes an update back, as if it had never been added; the client may send another. Its file is removed.</summary>
    /// <param name="id">The client.</param>
    /// <exception cref="RoundRejectedException">It has no update in the session.</exception>
    /// <exception cref="FedIcuException">The folder cannot be written.</exception>
    /// <exception cref="ObjectDisposedException">The session was disposed or deleted.</exception>
    public void Retract(string id)
    {
        ArgumentNullException.ThrowIfNull(id);
        string path;
        lock (_gate)
        {
            ThrowIfDisposed();
            if (!_arrivals.TryGetValue(id, out SessionArrival? arrival))
                throw new RoundRejectedException(RoundFault.Round, $"Client {Sentence.Quote(id)} has no update in the session.", id);
            path = arrival.Update.Path!;
            JournalClosing();
            _journal.Append(new JournalLine { Retract = id });
            TakeAway(arrival);
        }

        SessionSpool.Remove(path);
    }

    /// <summary>
    /// Closes the round: updates that arrive from now on are kept, but came too late. The journal says so, hence a restart changes nothing.
    /// </summary>
    /// <exception cref="FedIcuException">The folder cannot be written.</exception>
    /// <exception cref="ObjectDisposedException">The session was disposed or deleted.</exception>
    public void CloseRound()
    {
        lock (_gate)
        {
            ThrowIfDisposed();
            _due = true;
            JournalClosing();
        }
    }

    /// <summary>
    /// The round over what has come in time so far: everything while the round was not closed. An update that is retracted before the round
    /// is over may be missing in it.
    /// </summary>
    /// <param name="options">Null: <see cref="Options"/>.</param>
    public AggregationRound ToRound(RoundOptions? options = null)
    {
        var round = new AggregationRound(Global, options ?? Options);
        lock (_gate)
        {
            foreach (SessionArrival arrival in _arrivals.Values.Where(arrival => arrival.InTime))
                round.Add(arrival.Update);
        }

        return round;
    }

    /// <summary>Ends the session for good and removes its files, and the folder where nothing else is in it.</summary>
    /// <exception cref="FedIcuException">The folder cannot be written; the session is still there.</exception>
    /// <exception cref="ObjectDisposedException">The session was disposed or deleted.</exception>
    public void Delete()
    {
        lock (_gate)
        {
            ThrowIfDisposed();
            // in this order, so that a crash at any point leaves a session or none, never half of one
            _journal.Clear();
            _arrivals.Clear();
            (_inTime, _weighted) = (0, 0);
            _spool.RemoveAllBut([]);
            _journal.Remove();
        }

        try
        {
            Directory.Delete(_folder);
        }
        catch (Exception e) when (ModelFile.IsFileError(e))
        {
            // not empty: what is there is not ours
        }
    }

    /// <summary>Closes the session; it stays on the disk. Updates that are being added are not.</summary>
    public void Dispose()
    {
        lock (_gate)
            _journal.Dispose();
    }

    /// <summary>Lets a collector decide when the round is closed.</summary>
    /// <exception cref="InvalidOperationException">Another collector does.</exception>
    internal void Attach(RoundCollector collector)
    {
        lock (_gate)
        {
            ThrowIfDisposed();
            if (_collector is not null)
                throw new InvalidOperationException("The session has a collector already; dispose of it first.");
            _collector = collector;
        }
    }

    internal void Detach(RoundCollector collector)
    {
        lock (_gate)
            _collector = ReferenceEquals(_collector, collector) ? null : _collector;
    }

    /// <summary>An update of this session; null where it is none, or was retracted.</summary>
    internal SessionArrival? Find(ClientUpdate update)
    {
        lock (_gate)
            return _arrivals.GetValueOrDefault(update.Id) is { } arrival && ReferenceEquals(arrival.Update, update) ? arrival : null;
    }

    internal Task<SessionArrival> ArriveAsync(ClientUpdate update, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(update);
        return Task.Run(() => Add(update, cancellationToken), cancellationToken);
    }

    /// <summary>Closes the round if the journal can be written; otherwise it is closed ahead of the next change.</summary>
    internal void TryCloseRound()
    {
        try
        {
            CloseRound();
        }
        catch (Exception e) when (e is FedIcuException or ObjectDisposedException)
        {
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
        string path = Path.Combine(folder, SessionJournal.FileName);
        bool exists = File.Exists(path);
        if (!exists && !create)
            throw NoSession(folder);
        if (!exists)
            new SessionSpool(folder).Prepare();
        string digest = ModelDigest.Compute(global, options.Threads, cancellationToken);
        var journal = new SessionJournal(path, create, out List<JournalLine> lines);
        try
        {
            // a first line that was never finished is a session that was never begun, or one that was deleted
            if (lines.Count == 0)
            {
                if (!create)
                    throw NoSession(folder);
                DateTimeOffset now = arrivals.TimeProvider.GetUtcNow();
                lines.Add(new JournalLine { Session = Version, Base = digest, Round = options.Round, Begun = now });
                journal.Append(lines[0]);
            }
            else
            {
                if (!open)
                    throw new FedIcuException($"The folder '{folder}' holds a session already.");
                CheckFirst(lines[0], folder, digest, options);
                options = options with { Round = options.Round ?? lines[0].Round };
            }

            var session = new AggregationSession(folder, global, options, arrivals, lines[0], journal);
            session.Restore(lines, cancellationToken);
            return session;
        }
        catch
        {
            journal.Dispose();
            throw;
        }
    }

    private static void CheckFirst(JournalLine first, string folder, string digest, RoundOptions options)
    {
        if (first.Session is null || first.Base is null)
            throw Contradiction(folder, 1, "does not say what it was begun over");
        if (first.Session is not (>= OldestVersion and <= Version))
        {
            throw new FedIcuException(
                $"The session in '{folder}' has the version {first.Session}; {OldestVersion} to {Version} was expected.");
        }

        if (first.Base != digest)
        {
            throw new RoundRejectedException(
                RoundFault.Base,
                $"The session in '{folder}' was begun over the model {Sentence.Clean(first.Base)}; the global model given is {digest}.");
        }

        if (options.Round is { } round && first.Round is { } begun && begun != round)
            throw new RoundRejectedException(RoundFault.Round, $"The session in '{folder}' is of round {begun}; round {round} was given.");
    }

    /// <summary>Takes up what the journal says, holds the files against it, and removes those it does not name.</summary>
    private static ClientUpdate Spooled(string id, string path, JournalLine said, string? fault) =>
        ClientUpdate.FromSpool(id, path, said.Weight, said.Kind, said.Base, fault);

    private void Restore(List<JournalLine> lines, CancellationToken cancellationToken)
    {
        var clients = new SortedDictionary<string, (JournalLine Line, long Number, bool InTime)>(StringComparer.Ordinal);
        var files = new HashSet<string>(StringComparer.Ordinal);
        for (int i = 1; i < lines.Count; i++)
        {
            JournalLine line = lines[i];
            string? fault = line.DescribeFault();
            if (fault is null && line.Add is { } added &&
                !(clients.TryAdd(added, (line, ++_lastNumber, !IsRoundClosed)) && files.Add(line.File!)))
                fault = "adds a client or a file that is there already";
            if (fault is null && line.Retract is { } retracted && !clients.Remove(retracted))
                fault = "retracts a client that is not there";
            if (fault is null && line.Closed is not null && IsRoundClosed)
                fault = "closes a round that is closed already";
            if (fault is not null)
                throw Contradiction(_folder, i + 1, fault);
            IsRoundClosed |= line.Closed is not null;
        }

        _due = IsRoundClosed;
        var faults = new ConcurrentDictionary<string, string>(StringComparer.Ordinal);
        int threads = Options.Threads > 0 ? Options.Threads : Environment.ProcessorCount;
        Parallel.ForEach(
            clients.Values.Select(client => client.Line),
            new ParallelOptions { CancellationToken = cancellationToken, MaxDegreeOfParallelism = threads },
            line =>
            {
                if (_spool.FindFault(line, cancellationToken) is { } fault)
                    faults[line.Add!] = fault;
            });
        foreach ((string id, (JournalLine line, long number, bool inTime)) in clients)
        {
            string? fault = faults.GetValueOrDefault(id);
            if (fault is not null && Options.OnUnreadable == FaultPolicy.Reject)
                throw new RoundRejectedException(RoundFault.Unreadable, $"Client {Sentence.Quote(id)}: {fault}", id);
            Take(new SessionArrival(number, Spooled(id, _spool.PathOf(line.File!), line, fault), inTime));
        }

        _spool.RemoveAllBut([.. clients.Values.Select(client => client.Line.File!)]);
    }

    private SessionArrival Add(ClientUpdate update, CancellationToken cancellationToken)
    {
        string who = $"Client {Sentence.Quote(update.Id)}";
        if (!Sentence.IsUnicode(update.Id))
        {
            throw new RoundRejectedException(
                RoundFault.Round, $"{who} has an id with half of a surrogate pair; valid Unicode was expected.", update.Id);
        }

        lock (_gate)
        {
            ThrowIfDisposed();
            if (_arrivals.ContainsKey(update.Id) || !_arriving.Add(update.Id))
                throw new RoundRejectedException(RoundFault.Round, $"{who} was added twice; ids must be unique.", update.Id);
        }

        string? path = null;
        bool added = false;
        try
        {
            JournalLine line = _intake.Copy(update, ref path, CheckWeightNow, cancellationToken);
            ClientUpdate spooled = Spooled(update.Id, path!, line, fault: null);
            SessionArrival arrival;
            lock (_gate)
            {
                ThrowIfDisposed();
                // again: others have arrived while this one was copied
                CheckWeight(who, update.Id, line.Weight);
                JournalClosing();
                _journal.Append(line);
                added = true;
                arrival = new SessionArrival(++_lastNumber, spooled, InTime: !IsRoundClosed);
                Take(arrival);
                if (arrival.InTime && _collector is { } collector && collector.IsFull(_inTime))
                {
                    TryCloseRound();
                    collector.Complete();
                }
            }

            return arrival;
        }
        catch (InvalidModelException e)
        {
            RoundFault fault = e is ChangedModelException ? RoundFault.Changed : RoundFault.Unreadable;
            throw new RoundRejectedException(fault, $"{who}: {e.Message}", update.Id);
        }
        finally
        {
            if (!added && path is not null)
                SessionSpool.Remove(path);
            lock (_gate)
                _arriving.Remove(update.Id);
        }
    }

    /// <summary>
    /// Refuses a weight that would end the round whatever its policy: stated where the others' is not, missing where theirs is, or too large for
    /// their sum. The check of the update itself has refused one that is negative, not finite or above MaxWeight.
    /// </summary>
    private void CheckWeight(string who, string id, double? stated)
    {
        const string Examples = MetadataKeys.Examples;
        // the round drops the fewer; the first to arrive must not decide for all
        bool leavesToRound = Options.OnWeight == FaultPolicy.DropClient;
        if (stated is not { } weight)
        {
            if (_arrivalOptions.RequireWeights)
                throw Refused($"{who} states no {Examples}; the session requires a weight of every client.");
            if (_weighted > 0 && !leavesToRound)
                throw Refused($"{who} states no {Examples} where client {FirstOther(weighted: true)} does; a weight was expected.");
            return;
        }

        string has = $"{who} has the weight {Numbers.Invariant(weight)}";
        if (!_arrivalOptions.RequireWeights && _weighted == 0 && _arrivals.Count > 0 && !leavesToRound)
            throw Refused($"{has} where client {FirstOther(weighted: false)} states none; an update without {Examples} was expected.");

        // only a MaxWeight far above the default lets the sum come near the limit
        if (Options.MaxWeight < MostWeight / (_arrivals.Count + 1))
            return;
        double sum = _arrivals.Values.Sum(arrival => arrival.Update.Weight ?? 0) + weight;
        if (!(sum <= MostWeight))
        {
            throw Refused(
                $"{has}; the sum of the session's weights would be {Numbers.Invariant(sum)}, above {Numbers.Invariant(MostWeight)}.");
        }

        RoundRejectedException Refused(string sentence) => new(RoundFault.Weight, sentence, id);

        string FirstOther(bool weighted) => Sentence.Quote(
            _arrivals.Values.Where(arrival => arrival.Update.Weight is not null == weighted).MinBy(arrival => arrival.Number)!.Update.Id);
    }

    private void CheckWeightNow(string who, string id, double? stated)
    {
        lock (_gate)
            CheckWeight(who, id, stated);
    }

    private void Take(SessionArrival arrival)
    {
        _arrivals.Add(arrival.Update.Id, arrival);
        _inTime += arrival.InTime ? 1 : 0;
        _weighted += arrival.Update.Weight is null ? 0 : 1;
    }

    private void TakeAway(SessionArrival arrival)
    {
        _arrivals.Remove(arrival.Update.Id);
        _inTime -= arrival.InTime ? 1 : 0;
        _weighted -= arrival.Update.Weight is null ? 0 : 1;
    }

    /// <summary>Writes that the round is closed, before anything else is written: the order of the lines decides who is late.</summary>
    private void JournalClosing()
    {
        if (!_due || IsRoundClosed)
            return;
        _journal.Append(new JournalLine { Closed = _arrivalOptions.TimeProvider.GetUtcNow() });
        IsRoundClosed = true;
        _collector?.Complete();
    }

    private void ThrowIfDisposed() => ObjectDisposedException.ThrowIf(_journal.IsClosed, this);

    private static InvalidModelException Contradiction(string folder, int line, string fault) =>
        new($"The session in '{folder}' has a journal that contradicts itself: line {line} {fault}.");

    private static FedIcuException NoSession(string folder) => new($"The folder '{folder}' holds no session.");
}
