using System.Diagnostics.CodeAnalysis;

namespace FedICU.Fedn;

/// <summary>
/// A combiner's round: the global model, the clients' updates as files, and the new model once it is aggregated. A
/// combiner that retries does not send the updates again. Therefore updates are kept until an aggregation succeeds, and
/// the new model until the next round begins.
/// </summary>
[SuppressMessage("Reliability", "CA1001", Justification = "A semaphore holds no resource until its wait handle is requested.")]
internal sealed class RoundSession(string folder)
{
    private static long _fileCount;

    private readonly Lock _state = new();
    private readonly Dictionary<string, ClientEntry> _clients = new(StringComparer.Ordinal);
    private byte[]? _digest;
    private int _users;

    // one aggregation at a time, and no change to its round while it runs
    private readonly SemaphoreSlim _exclusive = new(1);

    /// <summary>When the last call ended.</summary>
    public DateTime LastUse { get; private set; }

    /// <summary>
    /// The number of rounds begun. It detects a call that delivers its update after the next round has begun.
    /// </summary>
    public long Round { get; private set; }

    /// <summary>The global model's safetensors file.</summary>
    public string? Global { get; private set; }

    /// <summary>The npz file of the new model; null until there is one.</summary>
    public string? Result { get; private set; }

    /// <summary>The clients in the ordinal order of their ids.</summary>
    public KeyValuePair<string, ClientEntry>[] Clients
    {
        get
        {
            lock (_state)
                return [.. _clients.OrderBy(client => client.Key, StringComparer.Ordinal)];
        }
    }

    /// <summary>Begins a call.</summary>
    public RoundSession Enter()
    {
        lock (_state)
            _users++;
        return this;
    }

    /// <summary>Ends a call.</summary>
    public void Leave()
    {
        lock (_state)
            (_users, LastUse) = (_users - 1, DateTime.UtcNow);
    }

    /// <summary>Returns whether no call is running and none has run for the given time.</summary>
    public bool IsIdle(TimeSpan time)
    {
        lock (_state)
            return _users == 0 && DateTime.UtcNow - LastUse >= time;
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

    /// <summary>Returns an unused path in the spool.</summary>
    public string NewFile(string extension) => Path.Combine(folder, $"{Interlocked.Increment(ref _fileCount)}{extension}");

    /// <summary>Deletes the updates and the new model, and begins a round.</summary>
    public void Clear(bool keepGlobal)
    {
        lock (_state)
        {
            Round++;
            foreach (ClientEntry client in _clients.Values)
                Delete(client.Path);
            _clients.Clear();
            Delete(Result);
            Result = null;
            if (keepGlobal)
                return;
            Delete(Global);
            (Global, _digest) = (null, null);
        }
    }

    /// <summary>Sets the global model. The same bytes again are a retry; any other model begins a round.</summary>
    public void SetGlobal(string path, byte[] digest)
    {
        lock (_state)
        {
            if (_digest is not null && _digest.AsSpan().SequenceEqual(digest))
            {
                Delete(path);
                return;
            }

            Clear(keepGlobal: false);
            (Global, _digest) = (path, digest);
        }
    }

    /// <summary>
    /// Returns whether a client may take part: it is known already, or there is room for one more. If the round has its
    /// result, the client is the first of a new round.
    /// </summary>
    public bool Admit(string id, int maxClients)
    {
        lock (_state)
        {
            if (Result is not null)
                Clear(keepGlobal: true);
            return _clients.ContainsKey(id) || _clients.Count < maxClients;
        }
    }

    /// <summary>Changes a client's entry. A repeated call replaces what the client sent before.</summary>
    /// <returns>False if the round is over.</returns>
    public bool Set(long round, string id, Func<ClientEntry, ClientEntry> change)
    {
        lock (_state)
        {
            if (round != Round)
                return false;
            ClientEntry before = _clients.GetValueOrDefault(id) ?? new ClientEntry(), after = change(before);
            if (before.Path != after.Path)
                Delete(before.Path);
            _clients[id] = after;
            return true;
        }
    }

    /// <summary>Deletes the updates and keeps the new model.</summary>
    public void SetResult(string path)
    {
        lock (_state)
        {
            Clear(keepGlobal: true);
            Result = path;
        }
    }

    /// <summary>Deletes a file. One that cannot be deleted goes later, with the process's folder.</summary>
    public static void Delete(string? path)
    {
        try
        {
            if (path is not null)
                File.Delete(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
        }
    }
}
