using System.Diagnostics.CodeAnalysis;

namespace FedICU.Fedn;

/// <summary>
/// A combiner's round: the global model, the clients' updates as files, and the new model once it is aggregated. A
/// combiner that retries does not send the updates again. Therefore updates are kept until an aggregation succeeds, and
/// the new model until the next round begins. Each change is recorded on the disk, so that a restart loses nothing.
/// </summary>
[SuppressMessage("Reliability", "CA1001", Justification = "A semaphore holds no resource until its wait handle is requested.")]
internal sealed class RoundSession
{
    private static readonly Dictionary<string, ClientEntry> NoClients = [];

    private readonly Lock _state = new();
    private readonly Spool _spool;
    private readonly RoundRecordFile _record;
    private readonly Dictionary<string, ClientEntry> _clients = new(StringComparer.Ordinal);
    private readonly Dictionary<string, Upload> _uploads = new(StringComparer.Ordinal);
    private string? _digest;
    private long _fileCount;
    private bool _isSent;

    // guards the two below, and is never held during work on the disk: the store asks all sessions for them
    private readonly Lock _use = new();
    private DateTime _lastUse = DateTime.UtcNow;
    private int _users;

    // one aggregation at a time, and no change to its round while it runs
    private readonly SemaphoreSlim _exclusive = new(1);

    /// <summary>Creates a session, or goes on with the one that its folder holds.</summary>
    /// <param name="spool">The spool.</param>
    /// <param name="folder">The session's folder; created if it is missing.</param>
    /// <param name="authority">The host and port that the combiner calls.</param>
    /// <exception cref="FedIcuException">The round that the folder holds is damaged or cannot be read.</exception>
    /// <exception cref="IOException">The folder cannot be written.</exception>
    /// <exception cref="UnauthorizedAccessException">The folder cannot be written.</exception>
    public RoundSession(Spool spool, string folder, string authority)
    {
        (_spool, Folder) = (spool, folder);
        PrivateFolder.Create(folder);
        _record = new RoundRecordFile(folder, authority);
        RestoredRound restored = _record.Restore(spool);
        (Global, _digest, Result, _fileCount) = (restored.Global, restored.GlobalDigest, restored.Result, restored.LastFile);
        foreach ((string id, ClientEntry client) in restored.Clients)
            _clients.Add(id, client);
    }

    /// <summary>The folder of the session's files.</summary>
    public string Folder { get; }

    /// <summary>When the last call ended.</summary>
    public DateTime LastUse
    {
        get
        {
            lock (_use)
                return _lastUse;
        }
    }

    /// <summary>The global model's safetensors file.</summary>
    public SpoolFile? Global { get; private set; }

    /// <summary>The npz file of the new model; null until there is one.</summary>
    public SpoolFile? Result { get; private set; }

    /// <summary>
    /// The number of rounds begun. It detects a call that delivers its update after the next round has begun.
    /// </summary>
    public long Round { get; private set; }

    /// <summary>The clients in the ordinal order of their ids.</summary>
    public KeyValuePair<string, ClientEntry>[] Clients
    {
        get
        {
            lock (_state)
                return [.. _clients.Where(client => !client.Value.IsEmpty).OrderBy(client => client.Key, StringComparer.Ordinal)];
        }
    }

    /// <summary>Begins a call.</summary>
    public RoundSession Enter()
    {
        lock (_use)
            _users++;
        return this;
    }

    /// <summary>Ends a call.</summary>
    public void Leave()
    {
        lock (_use)
            (_users, _lastUse) = (_users - 1, DateTime.UtcNow);
    }

    /// <summary>Returns whether no call is running and none has run for the given time.</summary>
    public bool IsIdle(TimeSpan time)
    {
        lock (_use)
            return _users == 0 && DateTime.UtcNow - _lastUse >= time;
    }

    /// <summary>Runs an action while no other exclusive action runs. It waits for an aggregation to end.</summary>
    public async Task RunExclusiveAsync(Func<Task> action, CancellationToken cancellationToken)
    {
        await _exclusive.WaitAsync(cancellationToken);
        try
        {
            await action();
        }
        finally
        {
            _exclusive.Release();
        }
    }

    /// <inheritdoc cref="RunExclusiveAsync(Func{Task}, CancellationToken)"/>
    public Task RunExclusiveAsync(Action action, CancellationToken cancellationToken) => RunExclusiveAsync(
        () =>
        {
            action();
            return Task.CompletedTask;
        },
        cancellationToken);

    /// <summary>Returns a file of the spool that does not exist yet.</summary>
    public SpoolFile NewFile(string extension) =>
        new(_spool, Path.Combine(Folder, $"{Interlocked.Increment(ref _fileCount)}{extension}"));

    /// <summary>
    /// Deletes the updates and the new model, and begins a round. Models that are arriving are too late.
    /// </summary>
    public void Clear(bool keepGlobal)
    {
        lock (_state)
        {
            // the record changes before the files go, so that it never names files that are gone
            if (keepGlobal)
                _record.Write(Global, _digest, null, NoClients);
            else
                _record.Clear();
            Forget(keepGlobal, result: null);
        }
    }

    /// <summary>Deletes all files, and the folder.</summary>
    public void Remove()
    {
        lock (_state)
        {
            Forget(keepGlobal: false, result: null);
            _record.Delete();
        }
    }

    /// <summary>Sets the global model. The same bytes again are a retry; any other model begins a round.</summary>
    public void SetGlobal(SpoolFile file, string digest)
    {
        lock (_state)
        {
            if (_digest == digest)
            {
                file.Delete();
                return;
            }

            _record.Write(file, digest, null, NoClients);
            // not uploads of a global model: this one is its own, and a newer one that is arriving counts after it
            Forget(keepGlobal: false, result: null, keptUploads: ClientId.GlobalModel);
            (Global, _digest) = (file, digest);
        }
    }

    /// <summary>
    /// Returns why a client cannot send metadata or a model; null if it can. If the round's result was sent, the client
    /// is the first of a new round. Until then it is late, and the result stays for the combiner.
    /// </summary>
    public UploadRefusal? Admit(string id, int maxClients, bool mayReplace)
    {
        lock (_state)
        {
            if (Result is not null)
            {
                if (!_isSent)
                    return UploadRefusal.IsUnsent;
                Clear(keepGlobal: true);
            }

            if (!_clients.TryGetValue(id, out ClientEntry? client))
                return _clients.Count < maxClients ? null : UploadRefusal.TooManyClients;
            if (_uploads.ContainsKey(id))
                return UploadRefusal.IsOpen;
            return client.File is null || mayReplace ? null : UploadRefusal.HasUpdate;
        }
    }

    /// <summary>
    /// Begins a model and reserves its client's place in the round. A global model that is arriving ends for a newer
    /// one.
    /// </summary>
    public Upload BeginUpload(string id, CancellationToken cancellationToken)
    {
        lock (_state)
        {
            if (_uploads.TryGetValue(id, out Upload? earlier))
                earlier.End();
            var upload = new Upload(id, Round, cancellationToken);
            _uploads[id] = upload;
            if (id != ClientId.GlobalModel)
                _clients.TryAdd(id, new ClientEntry());
            return upload;
        }
    }

    /// <summary>Ends an upload. The place of a client of which nothing has arrived is free again.</summary>
    public void EndUpload(Upload upload)
    {
        lock (_state)
        {
            if (_uploads.GetValueOrDefault(upload.Id) == upload)
                _uploads.Remove(upload.Id);
            if (upload.Round == Round && _clients.TryGetValue(upload.Id, out ClientEntry? client) && client.IsEmpty)
                _clients.Remove(upload.Id);
            upload.Dispose();
        }
    }

    /// <summary>Changes a client's entry. A file that is no longer in it is deleted.</summary>
    /// <returns>False if the round is over.</returns>
    public bool Set(long round, string id, Func<ClientEntry, ClientEntry> change)
    {
        lock (_state)
        {
            if (round != Round)
                return false;
            ClientEntry? before = _clients.GetValueOrDefault(id);
            ClientEntry after = change(before ?? new ClientEntry());
            _clients[id] = after;
            try
            {
                _record.Write(Global, _digest, Result, _clients);
            }
            catch
            {
                // the caller deletes the file that does not count
                if (before is null)
                    _clients.Remove(id);
                else
                    _clients[id] = before;
                throw;
            }

            if (before?.File != after.File)
                before?.File?.Delete();
            return true;
        }
    }

    /// <summary>Deletes the updates and keeps the new model.</summary>
    public void SetResult(SpoolFile file)
    {
        lock (_state)
        {
            _record.Write(Global, _digest, file, NoClients);
            Forget(keepGlobal: true, file);
            _isSent = false;
        }
    }

    /// <summary>Notes that a result was sent in whole, unless another round has begun meanwhile.</summary>
    public void MarkSent(SpoolFile result)
    {
        lock (_state)
            _isSent |= Result == result;
    }

    private void Forget(bool keepGlobal, SpoolFile? result, string? keptUploads = null)
    {
        Round++;
        foreach (Upload upload in _uploads.Values.Where(upload => upload.Id != keptUploads).ToArray())
        {
            upload.End();
            _uploads.Remove(upload.Id);
        }

        foreach (ClientEntry client in _clients.Values)
            client.File?.Delete();
        _clients.Clear();
        Result?.Delete();
        Result = result;
        if (keepGlobal)
            return;
        Global?.Delete();
        (Global, _digest) = (null, null);
    }
}
