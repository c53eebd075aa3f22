using FedICU.Files;

namespace FedICU.Fedn;

/// <summary>
/// The rounds of all combiners. FEDn's messages name no session, and its connections come and go. So a combiner is
/// identified by the host and port that it calls (HOOK_SERVICE_HOST). Combiners that share a bridge must use different
/// names or ports.
/// </summary>
internal sealed class SessionStore
{
    private readonly Lock _gate = new();
    private readonly Dictionary<string, RoundSession> _sessions = new(StringComparer.OrdinalIgnoreCase);
    private readonly FednOptions _options;
    private readonly Spool _spool;

    /// <summary>Goes on with the rounds that the spool holds.</summary>
    /// <exception cref="FedIcuException">The spool folder cannot be read or written.</exception>
    public SessionStore(FednOptions options, Spool spool, ILogger<SessionStore> logger)
    {
        (_options, _spool) = (options, spool);
        try
        {
            foreach (string folder in Directory.GetDirectories(spool.Rounds).Order(StringComparer.Ordinal))
            {
                string? authority = RoundRecordFile.ReadCombiner(folder);
                if (authority is null || FolderOf(authority) != folder)
                {
                    Directory.Delete(folder, recursive: true);
                    continue;
                }

                var session = new RoundSession(spool, folder, authority);
                _sessions.Add(authority, session);
                FednLog.Restored(logger, authority, session.Clients.Length);
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new FedIcuException($"The spool folder '{spool.Folder}' cannot be read: {FileFailure.Describe(e)}.", e);
        }
    }

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
                removed!.Remove();
            }

            session = new RoundSession(_spool, FolderOf(authority), authority);
            _sessions.Add(authority, session);
            return session.Enter();
        }
    }

    private string FolderOf(string authority) => Path.Combine(_spool.Rounds, CombinerName.ToFileName(authority));
}
