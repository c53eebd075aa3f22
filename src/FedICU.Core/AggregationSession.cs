using System.Buffers;
using System.Collections.Concurrent;
using System.Security.Cryptography;
using FedICU.Safetensors;
using Microsoft.Win32.SafeHandles;

namespace FedICU;

/// <summary>
/// A round fed one update at a time, over hours and restarts: each update is checked as it arrives, copied into the session's folder as it was sent, and counts once it is
/// on the disk. The round over what has come is an ordinary one: any rule, the same bits for any order of arrival, and a retracted client was never there. Thread-safe.
/// </summary>
/// <remarks>On disk an update takes the bytes it was sent with: 4 for each element in F32, 2 in F16 and BF16; in memory some hundred bytes for each client.</remarks>
public sealed class AggregationSession : IDisposable
{
    private const int Version = 1;
    private const string Prefix = "update-";

    // the session's folder is its own: it removes itself what a killed process left
    private static readonly OutputOptions SpoolFiles = new() { IsOwned = true };

    private readonly Lock _gate = new();
    private readonly SortedDictionary<string, ClientUpdate> _updates = new(StringComparer.Ordinal);
    private readonly HashSet<string> _arriving = new(StringComparer.Ordinal);
    private readonly string _folder;
    private readonly TensorSource _global;
    private readonly SessionJournal _journal;

    private AggregationSession(string folder, TensorSource global, RoundOptions options, string digest, SessionJournal journal) =>
        (_folder, _global, Options, BaseDigest, _journal) = (folder, global, options, digest, journal);

    /// <summary>The digest of the global model, as <see cref="ModelDigest"/> writes it.</summary>
    public string BaseDigest { get; }

    /// <summary>How the round is run and how faults are treated; with the number of the round that the session was created with.</summary>
    public RoundOptions Options { get; }

    /// <summary>The updates that have come, in the ordinal order of their clients' ids: the copies in the session's folder, valid until they are retracted.</summary>
    public IReadOnlyList<ClientUpdate> Updates
    {
        get
        {
            lock (_gate)
                return [.. _updates.Values];
        }
    }

    /// <summary>Begins a session.</summary>
    /// <param name="folder">A folder of its own; created where it is missing, else empty.</param>
    /// <param name="global">The model that was sent to the clients; borrowed. Read once, for its digest.</param>
    /// <param name="options">How the round is run and how faults are treated; not saved but for the round's number. Null: the defaults.</param>
    /// <param name="cancellationToken">Ends the reading.</param>
    /// <exception cref="FedIcuException">The folder holds a session or something else, or cannot be written; the options contradict their rules.</exception>
    public static AggregationSession Create(string folder, TensorSource global, RoundOptions? options = null, CancellationToken cancellationToken = default) =>
        Start(folder, global, options, create: true, open: false, cancellationToken);

    /// <summary>Opens a session after a restart. All its files are read once and held against their checksums.</summary>
    /// <param name="folder">The session's folder.</param>
    /// <param name="global">The same model as when it was created; borrowed.</param>
    /// <param name="options">
    /// As at the session's creation. With <see cref="RoundOptions.OnUnreadable"/> set to drop a client, a session opens whose files are damaged: the clients stay in
    /// <see cref="Updates"/> and the round leaves them out and says why, unless they are retracted.
    /// </param>
    /// <param name="cancellationToken">Ends the reading.</param>
    /// <exception cref="RoundRejectedException">Another global model or round; a client's file that is damaged or gone.</exception>
    /// <exception cref="FedIcuException">The folder holds no session, or one that is damaged or open elsewhere; the options contradict their rules.</exception>
    public static AggregationSession Open(string folder, TensorSource global, RoundOptions? options = null, CancellationToken cancellationToken = default) =>
        Start(folder, global, options, create: false, open: true, cancellationToken);

    /// <summary>Opens the folder's session, or begins one where there is none: for a server that does the same at its first start and at every other.</summary>
    /// <inheritdoc cref="Open"/>
    public static AggregationSession OpenOrCreate(string folder, TensorSource global, RoundOptions? options = null, CancellationToken cancellationToken = default) =>
        Start(folder, global, options, create: true, open: true, cancellationToken);

    /// <summary>
    /// Checks an update as a round does and copies it into the session's folder, byte for byte as it was sent. When the task ends it is on the disk and its own file or memory
    /// is free.
    /// </summary>
    /// <param name="update">The update. A fault that the policies answer by dropping the client refuses it here.</param>
    /// <param name="cancellationToken">Ends the copying; the update was not added.</param>
    /// <returns>The copy, for a <see cref="RoundCollector"/>.</returns>
    /// <exception cref="RoundRejectedException">The update is refused, or its client has sent one already; names client, tensor, expected and found.</exception>
    /// <exception cref="FedIcuException">The folder cannot be written.</exception>
    /// <exception cref="OperationCanceledException">The copying was cancelled.</exception>
    /// <exception cref="ObjectDisposedException">The session was disposed or deleted.</exception>
    public Task<ClientUpdate> AddAsync(ClientUpdate update, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(update);
        return Task.Run(() => Add(update, cancellationToken), cancellationToken);
    }

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
            ThrowIfClosed();
            if (!_updates.TryGetValue(id, out ClientUpdate? update))
                throw new RoundRejectedException(RoundFault.Round, $"Client {Sentence.Quote(id)} has no update in the session.", id);
            path = update.Path!;
            _journal.Append(new JournalLine { Retract = id });
            _updates.Remove(id);
        }

        Remove(path);
    }

    /// <summary>The round over what has come so far. An update that is retracted before the round is over may be missing in it.</summary>
    /// <param name="options">Null: <see cref="Options"/>.</param>
    public AggregationRound ToRound(RoundOptions? options = null)
    {
        var round = new AggregationRound(_global, options ?? Options);
        foreach (ClientUpdate update in Updates)
            round.Add(update);
        return round;
    }

    /// <summary>Ends the session for good and removes its files, and the folder where nothing else is in it.</summary>
    /// <exception cref="FedIcuException">The folder cannot be written; the session is still there.</exception>
    /// <exception cref="ObjectDisposedException">The session was disposed or deleted.</exception>
    public void Delete()
    {
        lock (_gate)
        {
            ThrowIfClosed();
            // in this order, so that a crash at any point leaves a session or none, never half of one
            _journal.Clear();
            _updates.Clear();
            RemoveAllBut([]);
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

    private static AggregationSession Start(string folder, TensorSource global, RoundOptions? options, bool create, bool open, CancellationToken cancellationToken)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        ArgumentNullException.ThrowIfNull(global);
        options ??= new RoundOptions();
        options.Validate();
        if (global.DescribeNoModel() is { } other)
            throw new RoundRejectedException(RoundFault.Round, other);
        string path = Path.Combine(folder, SessionJournal.FileName);
        bool exists = File.Exists(path);
        if (!exists && !create)
            throw NoSession(folder);
        if (!exists)
            PrepareFolder(folder);
        string digest = ModelDigest.Compute(global, options.Threads, cancellationToken);
        var journal = new SessionJournal(path, create);
        try
        {
            // a first line that was never finished is a session that was never begun, or one that was deleted
            if (journal.Lines.Count == 0)
            {
                if (!create)
                    throw NoSession(folder);
                journal.Append(new JournalLine { Session = Version, Base = digest, Round = options.Round });
            }
            else
            {
                if (!open)
                    throw new FedIcuException($"The folder '{folder}' holds a session already.");
                CheckFirst(journal.Lines[0], folder, digest, options);
                options = options with { Round = options.Round ?? journal.Lines[0].Round };
            }

            var session = new AggregationSession(folder, global, options, digest, journal);
            session.Restore(cancellationToken);
            return session;
        }
        catch
        {
            journal.Dispose();
            throw;
        }
    }

    private static void PrepareFolder(string folder)
    {
        try
        {
            Directory.CreateDirectory(folder);
            if (Directory.EnumerateFileSystemEntries(folder).FirstOrDefault() is { } other)
                throw new FedIcuException($"The folder '{folder}' holds {Sentence.Quote(Path.GetFileName(other))} and no session; a session needs a folder of its own.");
        }
        catch (Exception e) when (ModelFile.IsFileError(e))
        {
            throw new FedIcuException($"The folder '{folder}' cannot be created: {e.Message}", e);
        }
    }

    private static void CheckFirst(JournalLine first, string folder, string digest, RoundOptions options)
    {
        if (first.Session != Version)
            throw new FedIcuException($"The session in '{folder}' has the version {first.Session}; {Version} was expected.");
        if (first.Base != digest)
        {
            throw new RoundRejectedException(
                RoundFault.Base, $"The session in '{folder}' was begun over the model {Sentence.Clean(first.Base ?? "")}; the global model given is {digest}.");
        }

        if (options.Round is { } round && first.Round is { } begun && begun != round)
            throw new RoundRejectedException(RoundFault.Round, $"The session in '{folder}' is of round {begun}; round {round} was given.");
    }

    /// <summary>Takes up what the journal says, holds the files against it, and removes those it knows nothing of.</summary>
    private void Restore(CancellationToken cancellationToken)
    {
        var clients = new SortedDictionary<string, JournalLine>(StringComparer.Ordinal);
        foreach (JournalLine line in _journal.Lines.Skip(1))
        {
            // a name of another form would lead out of the folder
            bool known = line.Retract is { } retracted
                ? clients.Remove(retracted)
                : line is { Add.Length: > 0, Kind: not null, Length: not null, Digest: not null, File: { } file } &&
                    file.StartsWith(Prefix, StringComparison.Ordinal) && Path.GetFileName(file) == file && clients.TryAdd(line.Add, line);
            if (!known)
                throw new InvalidModelException($"The session in '{_folder}' has a journal that contradicts itself.");
        }

        JournalLine[] lines = [.. clients.Values];
        var faults = new ConcurrentDictionary<string, string>(StringComparer.Ordinal);
        Parallel.ForEach(
            lines,
            new ParallelOptions { CancellationToken = cancellationToken, MaxDegreeOfParallelism = Options.Threads > 0 ? Options.Threads : Environment.ProcessorCount },
            line =>
            {
                if (FindFault(line, cancellationToken) is { } fault)
                    faults[line.Add!] = fault;
            });
        foreach (JournalLine line in lines)
        {
            string? fault = faults.GetValueOrDefault(line.Add!);
            if (fault is not null && Options.OnUnreadable == FaultPolicy.Reject)
                throw new RoundRejectedException(RoundFault.Unreadable, $"Client {Sentence.Quote(line.Add!)}: {fault}", line.Add);
            _updates.Add(line.Add!, ClientUpdate.FromSpool(line.Add!, Path.Combine(_folder, line.File!), line, fault));
        }

        RemoveAllBut([.. lines.Select(line => line.File!)]);
    }

    private string? FindFault(JournalLine line, CancellationToken cancellationToken)
    {
        string path = Path.Combine(_folder, line.File!);
        try
        {
            (long length, string digest) = Measure(path, cancellationToken);
            if (length != line.Length)
                return $"'{path}' has {length} bytes; {line.Length} were expected.";
            return digest == line.Digest ? null : $"'{path}' is damaged: its bytes have the checksum {digest}; {Sentence.Clean(line.Digest!)} was expected.";
        }
        catch (InvalidModelException e)
        {
            return e.Message;
        }
    }

    private ClientUpdate Add(ClientUpdate update, CancellationToken cancellationToken)
    {
        string who = $"Client {Sentence.Quote(update.Id)}";
        if (!Sentence.IsUnicode(update.Id))
            throw new RoundRejectedException(RoundFault.Round, $"{who} has an id with half of a surrogate pair; valid Unicode was expected.", update.Id);
        lock (_gate)
        {
            ThrowIfClosed();
            if (_updates.ContainsKey(update.Id) || !_arriving.Add(update.Id))
                throw new RoundRejectedException(RoundFault.Round, $"{who} was added twice; ids must be unique.", update.Id);
        }

        // no name made of the id, which may hold anything, and none that was used before
        string path = Path.Combine(_folder, Prefix + RandomNumberGenerator.GetHexString(16, lowercase: true));
        bool added = false;
        try
        {
            JournalLine line = Spool(update, ref path, cancellationToken);
            ClientUpdate spooled = ClientUpdate.FromSpool(update.Id, path, line, fault: null);
            lock (_gate)
            {
                ThrowIfClosed();
                _journal.Append(line);
                _updates.Add(update.Id, spooled);
            }

            added = true;
            return spooled;
        }
        catch (InvalidModelException e)
        {
            throw new RoundRejectedException(RoundFault.Unreadable, $"{who}: {e.Message}", update.Id);
        }
        finally
        {
            if (!added)
                Remove(path);
            lock (_gate)
                _arriving.Remove(update.Id);
        }
    }

    /// <summary>Checks an update and copies it.</summary>
    private JournalLine Spool(ClientUpdate update, ref string path, CancellationToken cancellationToken)
    {
        RoundOptions options = Options with
        {
            OnMissing = Strict(Options.OnMissing),
            OnExtra = Strict(Options.OnExtra),
            OnShape = Strict(Options.OnShape),
            OnDType = Strict(Options.OnDType),
            OnBase = FaultPolicy.Reject,
            OnUnreadable = FaultPolicy.Reject,
            Progress = null,
        };
        var round = new AggregationRound(_global, options) { GlobalDigest = BaseDigest };
        round.Add(update);
        var check = new RoundCheck(round, output: null, cancellationToken);
        try
        {
            Participant participant = check.RunAlone();
            TensorSource source = participant.Source;
            if (source is not PeftAdapter)
                path += ".safetensors";
            source.SaveTo(source is PeftAdapter adapter ? TensorSink.ToAdapterFolder(path, adapter.Config, SpoolFiles) : TensorSink.ToFile(path, SpoolFiles), cancellationToken);
            (long length, string digest) = Measure(path, cancellationToken);
            return new JournalLine
            {
                Add = update.Id,
                Weight = participant.StatedWeight(),
                Kind = participant.Kind,
                Base = participant.BaseDigest,
                File = Path.GetFileName(path),
                Length = length,
                Digest = digest,
            };
        }
        finally
        {
            check.Participants.ForEach(participant => participant.Dispose());
        }

        static FaultPolicy Strict(FaultPolicy policy) => policy == FaultPolicy.DropClient ? FaultPolicy.Reject : policy;
    }

    /// <summary>The bytes of an update's file, or of an adapter's two files one after the other, and their checksum.</summary>
    private static (long Length, string Digest) Measure(string path, CancellationToken cancellationToken)
    {
        string[] files = Directory.Exists(path) ? [Path.Combine(path, ModelFolder.AdapterModel), Path.Combine(path, ModelFolder.AdapterConfig)] : [path];
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        byte[] panel = ArrayPool<byte>.Shared.Rent(1 << 20);
        try
        {
            long length = 0;
            foreach (string file in files)
            {
                using SafeFileHandle handle = ModelFile.OpenRead(file);
                int read;
                for (long offset = 0; (read = ModelFile.ReadAt(handle, panel, offset, file)) > 0; offset += read)
                {
                    cancellationToken.ThrowIfCancellationRequested();
                    hash.AppendData(panel, 0, read);
                    length += read;
                }
            }

            return (length, "sha256:" + Convert.ToHexStringLower(hash.GetHashAndReset()));
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(panel);
        }
    }

    /// <summary>Removes updates, and temporaries of them, that a process left when it was ended.</summary>
    private void RemoveAllBut(HashSet<string> kept)
    {
        foreach (string name in new DirectoryInfo(_folder).GetFileSystemInfos().Select(item => item.Name))
        {
            if (name.TrimStart('.').StartsWith(Prefix, StringComparison.Ordinal) && !kept.Contains(name))
                Remove(Path.Combine(_folder, name));
        }
    }

    /// <summary>Removes an update's file or folder. What cannot be removed is left over: no journal names it, and opening the session tries again.</summary>
    private static void Remove(string path)
    {
        try
        {
            if (Directory.Exists(path))
                Directory.Delete(path, recursive: true);
            else
                File.Delete(path);
        }
        catch (Exception e) when (ModelFile.IsFileError(e))
        {
        }
    }

    private void ThrowIfClosed() => ObjectDisposedException.ThrowIf(_journal.IsClosed, this);

    private static FedIcuException NoSession(string folder) => new($"The folder '{folder}' holds no session.");
}
