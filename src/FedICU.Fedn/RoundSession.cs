using System.Diagnostics.CodeAnalysis;

namespace FedICU.Fedn;

/// <summary>What came from a client in a round.</summary>
internal sealed record ClientEntry
{
    /// <summary>What its metadata say of its weight.</summary>
    public ClientMetadata Metadata { get; init; }

    /// <summary>The update's safetensors file, null where none came.</summary>
    public string? Path { get; init; }

    /// <summary>Why there is no file, the end of a sentence that begins with the client's name.</summary>
    public string Fault { get; init; } = "its metadata came, its model did not.";
}

/// <summary>
/// A combiner's round: the global model, the clients' updates as files, and, once they were aggregated, the new model until the next round begins. Updates are kept
/// until an aggregation succeeded, and the new model after it: on a retry the combiner sends no update again.
/// </summary>
[SuppressMessage("Reliability", "CA1001", Justification = "A semaphore whose wait handle nobody asks for holds nothing.")]
internal sealed class RoundSession(string folder)
{
    private static long _files;

    private readonly Lock _state = new();
    private readonly Dictionary<string, ClientEntry> _clients = new(StringComparer.Ordinal);
    private byte[]? _digest;
    private int _users;

    // one aggregation at a time, and no change to its round meanwhile
    private readonly SemaphoreSlim _alone = new(1);

    /// <summary>When a call last ended.</summary>
    public DateTime LastUse { get; private set; }

    /// <summary>Counts the rounds: what a round's call brings after the next has begun is not kept.</summary>
    public long Round { get; private set; }

    /// <summary>The global model's safetensors file.</summary>
    public string? Global { get; private set; }

    /// <summary>The npz file of the new model, once there is one.</summary>
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

    /// <summary>Whether no call is under way, and none was for so long.</summary>
    public bool IsIdle(TimeSpan time)
    {
        lock (_state)
            return _users == 0 && DateTime.UtcNow - LastUse >= time;
    }

    /// <summary>Does what nothing else may be done beside; an aggregation is waited for.</summary>
    public async Task AloneAsync(Func<Task> action, CancellationToken cancellationToken)
    {
        await _alone.WaitAsync(cancellationToken);
        try
        {
            await action();
        }
        finally
        {
            _alone.Release();
        }
    }

    /// <inheritdoc cref="AloneAsync(Func{Task}, CancellationToken)"/>
    public Task AloneAsync(Action action, CancellationToken cancellationToken) => AloneAsync(
        () =>
        {
            action();
            return Task.CompletedTask;
        },
        cancellationToken);

    /// <summary>A path of its own in the spool.</summary>
    public string NewFile(string extension) => Path.Combine(folder, $"{Interlocked.Increment(ref _files)}{extension}");

    /// <summary>Begins a round.</summary>
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

    /// <summary>Takes the global model. The same as before is a retry's; another begins a round.</summary>
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

    /// <summary>Whether a client may be taken: one more, or one that is there already. After an answer it is the first of a new round.</summary>
    public bool Admit(string id, int most)
    {
        lock (_state)
        {
            if (Result is not null)
                Clear(keepGlobal: true);
            return _clients.ContainsKey(id) || _clients.Count < most;
        }
    }

    /// <summary>Takes what came from a client; what came before is replaced, as on a repeated call.</summary>
    /// <returns>False where the round is over.</returns>
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

    /// <summary>Keeps the new model in the place of the updates.</summary>
    public void SetResult(string path)
    {
        lock (_state)
        {
            Clear(keepGlobal: true);
            Result = path;
        }
    }

    /// <summary>Removes a file; one that cannot be removed goes with the process's folder.</summary>
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
