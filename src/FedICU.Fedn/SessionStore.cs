using FedICU.Files;
using FedICU.Text;

namespace FedICU.Fedn;

/// <summary>
/// The rounds of all combiners. FEDn's messages name no session, and its connections come and go. So a combiner is
/// identified by the host and port that it calls (HOOK_SERVICE_HOST). Combiners that share a bridge must use different
/// names or ports.
/// </summary>
internal sealed class SessionStore
{
    // guards the places, and is never held during work on the disk
    private readonly Lock _gate = new();
    private readonly Dictionary<string, Place> _places = new(StringComparer.OrdinalIgnoreCase);
    private readonly FednOptions _options;
    private readonly Spool _spool;

    /// <summary>Goes on with the rounds that the spool holds. A round that cannot be read keeps its folder.</summary>
    /// <exception cref="FedIcuException">The spool folder cannot be read or written.</exception>
    public SessionStore(FednOptions options, Spool spool, ILogger<SessionStore> logger)
    {
        (_options, _spool) = (options, spool);
        try
        {
            foreach (string folder in Directory.GetDirectories(spool.Rounds).Order(StringComparer.Ordinal))
                Restore(folder, logger);
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
    /// <exception cref="FedIcuException">The round that the combiner's folder holds cannot be read.</exception>
    /// <exception cref="IOException">The combiner's folder cannot be written.</exception>
    /// <exception cref="UnauthorizedAccessException">The combiner's folder cannot be written.</exception>
    public RoundSession? Enter(string authority)
    {
        Place? idle = null;
        Place place;
        lock (_gate)
        {
            place = _places.GetValueOrDefault(authority) ?? new Place(authority);
            if (place.Session is { } open)
                return open.Enter();
            if (!place.IsTaken && _places.Values.Count(other => other.IsTaken) >= _options.MaxSessions)
            {
                idle = _places.Values.Where(other => other.Session?.IsIdle(_options.IdleTimeout) == true)
                    .MinBy(other => other.Session!.LastUse);
                if (idle is null)
                    return null;
                (idle.IsTaken, idle.Session, idle.Removed) = (false, null, idle.Session);
                idle.Callers++;
            }

            _places[authority] = place;
            place.IsTaken = true;
            place.Callers++;
        }

        try
        {
            if (idle is not null)
                Remove(idle);
            return Open(place);
        }
        finally
        {
            lock (_gate)
            {
                Leave(place);
                if (idle is not null)
                    Leave(idle);
            }
        }
    }

    private void Restore(string folder, ILogger logger)
    {
        try
        {
            string? authority = RoundRecordFile.ReadCombiner(folder);
            if (authority is null)
            {
                Directory.Delete(folder, recursive: true);
            }
            else if (FolderOf(authority) != folder)
            {
                FednLog.NotRestored(logger, folder, $"the folder of its combiner {Sentence.Quote(authority)} has another name.");
            }
            else
            {
                var session = new RoundSession(_spool, folder, authority);
                _places.Add(authority, new Place(authority) { IsTaken = true, Session = session });
                FednLog.Restored(logger, authority, session.Clients.Length);
            }
        }
        catch (FedIcuException e)
        {
            FednLog.NotRestored(logger, folder, e.Message);
        }
    }

    private RoundSession Open(Place place)
    {
        lock (place.Disk)
        {
            lock (_gate)
            {
                if (place.Session is { } open)
                    return open.Enter();
            }

            // the combiner may come back while another call removes its old session
            Remove(place);
            var session = new RoundSession(_spool, FolderOf(place.Authority), place.Authority);
            lock (_gate)
                return (place.Session = session).Enter();
        }
    }

    private static void Remove(Place place)
    {
        lock (place.Disk)
        {
            place.Removed?.Remove();
            place.Removed = null;
        }
    }

    private void Leave(Place place)
    {
        // the last caller leaves no place without a session behind
        if (--place.Callers == 0 && place.Session is null)
            _places.Remove(place.Authority);
    }

    private string FolderOf(string authority) => Path.Combine(_spool.Rounds, CombinerName.ToFileName(authority));

    /// <summary>
    /// A combiner's place among the sessions. The store's gate guards the members, unless they say otherwise.
    /// </summary>
    private sealed class Place(string authority)
    {
        public string Authority => authority;

        /// <summary>Held during work on the disk, before the store's gate if both are.</summary>
        public Lock Disk { get; } = new();

        /// <summary>Whether the place counts as a session.</summary>
        public bool IsTaken { get; set; }

        /// <summary>The session; null while its folder is read.</summary>
        public RoundSession? Session { get; set; }

        /// <summary>
        /// An idle session whose folder must be deleted. Set under the gate, cleared under the disk's lock.
        /// </summary>
        public RoundSession? Removed { get; set; }

        /// <summary>The calls that are at the disk for this place.</summary>
        public int Callers { get; set; }
    }
}
