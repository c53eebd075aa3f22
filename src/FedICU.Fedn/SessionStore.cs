using System.Security.Cryptography;
using FedICU.Files;

namespace FedICU.Fedn;

/// <summary>
/// The rounds of all combiners and their files. FEDn's messages name no session, and its connections come and go. So a
/// combiner is identified by the host and port that it calls (HOOK_SERVICE_HOST). Combiners that share a bridge must
/// use different names or ports.
/// </summary>
internal sealed class SessionStore : IDisposable
{
    private const string Prefix = "process-", LockName = "lock";

    private readonly Lock _gate = new();
    private readonly Dictionary<string, RoundSession> _sessions = new(StringComparer.OrdinalIgnoreCase);
    private readonly FednOptions _options;
    private readonly FileStream _lock;

    /// <exception cref="FedIcuException">The spool folder cannot be written.</exception>
    public SessionStore(FednOptions options)
    {
        _options = options;
        Folder = Path.Combine(options.Spool, Prefix + RandomNumberGenerator.GetHexString(16, lowercase: true));
        try
        {
            Directory.CreateDirectory(options.Spool);
            RemoveAbandoned(options.Spool);
            CreatePrivateFolder(Folder);
            _lock = new FileStream(Path.Combine(Folder, LockName), FileMode.CreateNew, FileAccess.ReadWrite, FileShare.None);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new FedIcuException($"The spool folder '{options.Spool}' cannot be written: {FileFailure.Describe(e)}.", e);
        }
    }

    /// <summary>This process's folder.</summary>
    public string Folder { get; }

    /// <summary>
    /// Finds or creates a combiner's session and begins a call in it. If all sessions are taken, the one that has been
    /// idle longest makes room.
    /// </summary>
    /// <returns>The session; null if all are taken and none has been idle long enough.</returns>
    public RoundSession? Enter(string authority)
    {
        lock (_gate)
        {
            if (_sessions.TryGetValue(authority, out RoundSession? session))
                return session.Enter();
            if (_sessions.Count >= _options.MaxSessions)
            {
                string? idle = _sessions.Keys.Where(key => _sessions[key].IsIdle(_options.IdleTimeout))
                    .MinBy(key => _sessions[key].LastUse);
                if (idle is null)
                    return null;
                _sessions.Remove(idle, out RoundSession? removed);
                removed!.Clear(keepGlobal: false);
            }

            session = new RoundSession(Folder);
            _sessions.Add(authority, session);
            return session.Enter();
        }
    }

    /// <summary>
    /// Creates a folder that other users of the machine cannot read, because clients' models are in it.
    /// </summary>
    public static void CreatePrivateFolder(string path)
    {
        if (OperatingSystem.IsWindows())
            Directory.CreateDirectory(path);
        else
            Directory.CreateDirectory(path, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
    }

    /// <summary>Deletes the process's folder.</summary>
    public void Dispose()
    {
        _lock.Dispose();
        TryDelete(Folder);
    }

    /// <summary>Deletes the folders of processes that have ended: nobody holds their locks.</summary>
    private static void RemoveAbandoned(string spool)
    {
        foreach (string folder in Directory.EnumerateDirectories(spool, Prefix + "*"))
        {
            try
            {
                using (new FileStream(Path.Combine(folder, LockName), FileMode.Open, FileAccess.ReadWrite, FileShare.None))
                {
                }
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                // another process uses the folder or is just creating it
                continue;
            }

            TryDelete(folder);
        }
    }

    private static void TryDelete(string folder)
    {
        try
        {
            Directory.Delete(folder, recursive: true);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // the next start tries again
        }
    }
}
