using System.Collections.Concurrent;
using FedICU.Text;

namespace FedICU.Rounds.Sessions;

/// <summary>Restores a session from the lines of its journal and the files of its updates.</summary>
internal sealed class SessionReplay
{
    private readonly SortedDictionary<string, (JournalLine Line, long Number)> _clients = new(StringComparer.Ordinal);

    // clients that an earlier version of the library added after the round was sealed; they are not restored
    private readonly HashSet<string> _late = new(StringComparer.Ordinal);

    /// <summary>Replays the lines.</summary>
    /// <param name="folder">The session's folder.</param>
    /// <param name="lines">The lines; the first was checked when the journal was opened.</param>
    /// <exception cref="InvalidModelException">The lines contradict each other.</exception>
    public SessionReplay(string folder, List<JournalLine> lines)
    {
        var files = new HashSet<string>(StringComparer.Ordinal);
        for (int i = 1; i < lines.Count; i++)
        {
            if ((lines[i].DescribeFault() ?? TryApply(lines[i], files)) is { } fault)
                throw CreateContradiction(folder, i + 1, fault);
        }
    }

    /// <summary>The number of the last update that arrived, retracted ones included.</summary>
    public long LastNumber { get; private set; }

    /// <summary>Whether the round was sealed.</summary>
    public bool IsSealed { get; private set; }

    /// <summary>Checks the updates' files against the journal, and removes files that are not in it.</summary>
    /// <returns>The updates in the ordinal order of their clients' ids.</returns>
    /// <exception cref="RoundRejectedException">
    /// A file is damaged or missing, and the policy does not drop its client.
    /// </exception>
    public List<SessionArrival> RestoreArrivals(SessionSpool spool, RoundOptions options, CancellationToken cancellationToken)
    {
        var faults = new ConcurrentDictionary<string, string>(StringComparer.Ordinal);
        int threads = options.Threads > 0 ? options.Threads : Environment.ProcessorCount;
        Parallel.ForEach(
            _clients.Values.Select(client => client.Line),
            new ParallelOptions { CancellationToken = cancellationToken, MaxDegreeOfParallelism = threads },
            line =>
            {
                if (spool.FindFault(line, cancellationToken) is { } fault)
                    faults[line.Add!] = fault;
            });
        var arrivals = new List<SessionArrival>();
        foreach ((string id, (JournalLine line, long number)) in _clients)
        {
            string? fault = faults.GetValueOrDefault(id);
            if (fault is not null && options.OnUnreadable == FaultPolicy.Reject)
                throw new RoundRejectedException(RoundFault.Unreadable, $"Client {Sentence.Quote(id)}: {fault}", id);
            arrivals.Add(new SessionArrival(number, spool.OpenUpdate(line, fault)) { Digest = fault is null ? line.Digest : null });
        }

        spool.RemoveAllBut([.. _clients.Values.Select(client => client.Line.File!)]);
        return arrivals;
    }

    public static InvalidModelException CreateContradiction(string folder, int line, string fault) =>
        new($"The session in '{folder}' has a journal that contradicts itself: line {line} {fault}.");

    /// <summary>Applies a line; returns its fault if it contradicts the lines before it, else null.</summary>
    private string? TryApply(JournalLine line, HashSet<string> files)
    {
        if (line.Add is { } added)
        {
            LastNumber++;
            bool isNew = !_clients.ContainsKey(added) && files.Add(line.File!) && (!IsSealed || _late.Add(added));
            if (isNew && !IsSealed)
                _clients.Add(added, (line, LastNumber));
            return isNew ? null : "adds a client or a file that the session already has";
        }

        if (line.Retract is { } retracted)
            return _clients.Remove(retracted) || _late.Remove(retracted) ? null : "retracts a client that the session does not have";
        if (IsSealed)
            return "seals a round that is already sealed";
        IsSealed = true;
        return null;
    }
}
