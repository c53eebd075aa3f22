using FedICU.Files;
using FedICU.Text;

namespace FedICU.Rounds.Sessions;

/// <summary>
/// Opens or creates the journal of a session, and checks that the session belongs to the global model and the round.
/// </summary>
internal static class SessionOpening
{
    // the version that is written, and the oldest one that is read: version 1 had neither the creation time nor the
    // round's seal, version 2 not what clients state about their training
    private const int Version = 3;
    private const int OldestVersion = 1;

    /// <summary>Opens a session's journal.</summary>
    /// <param name="folder">The session's folder.</param>
    /// <param name="global">The global model.</param>
    /// <param name="options">The round's options.</param>
    /// <param name="clock">The clock for the creation time.</param>
    /// <param name="create">Whether a session is created if there is none.</param>
    /// <param name="open">Whether a session may exist.</param>
    /// <param name="lines">The journal's lines, at least one.</param>
    /// <param name="cancellationToken">Ends the reading of the global model.</param>
    public static SessionJournal OpenJournal(
        string folder, TensorSource global, RoundOptions options, TimeProvider clock, bool create, bool open, out List<JournalLine> lines,
        CancellationToken cancellationToken)
    {
        string path = Path.Combine(folder, SessionJournal.FileName);
        bool exists = File.Exists(path);
        if (!exists && !create)
            throw CreateMissing(folder);
        if (!exists)
            new SessionSpool(folder).Prepare();
        string digest = ModelDigest.Compute(global, options.Threads, cancellationToken);
        var journal = new SessionJournal(path, create, out lines);
        try
        {
            // an empty journal: the first line was never finished, or the session was deleted
            if (lines.Count == 0)
            {
                if (!create)
                    throw CreateMissing(folder);
                lines.Add(new JournalLine { Session = Version, Base = digest, Round = options.Round, Begun = clock.GetUtcNow() });
                journal.Append(lines[0]);
            }
            else
            {
                if (!open)
                    throw new FedIcuException($"The folder '{folder}' holds a session already.");
                CheckFirst(lines[0], folder, digest, options);
            }

            return journal;
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
            throw SessionReplay.CreateContradiction(folder, 1, "does not state the session's version and its global model");
        if (first.Session is not (>= OldestVersion and <= Version))
        {
            throw new FedIcuException(
                $"The session in '{folder}' has the version {first.Session}; {OldestVersion} to {Version} was expected.");
        }

        if (first.Base != digest)
        {
            throw new RoundRejectedException(
                RoundFault.Base,
                $"The session in '{folder}' was created for the model {Sentence.Clean(first.Base)}; the given global model is {digest}.");
        }

        if (options.Round is { } given && first.Round is { } own && own != given)
        {
            throw new RoundRejectedException(
                RoundFault.Round, $"The session in '{folder}' belongs to round {own}; round {given} was given.");
        }
    }

    private static FedIcuException CreateMissing(string folder) => new($"The folder '{folder}' holds no session.");
}
