namespace FedICU.Rounds.Sessions;

/// <summary>
/// Seals a session's round: in the journal, so that a restart changes nothing, and at the collector. Not thread-safe.
/// </summary>
/// <param name="journal">The session's journal.</param>
/// <param name="clock">The clock for the time of the seal.</param>
/// <param name="isSealed">Whether the journal contains the seal already.</param>
/// <param name="endUploads">Ends the uploads that are now too late.</param>
internal sealed class SessionSeal(SessionJournal journal, TimeProvider clock, bool isSealed, Action endUploads)
{
    private RoundCollector? _collector;
    // the round is over, but the journal may not contain that yet
    private bool _isDue = isSealed;

    /// <summary>Whether the journal contains that the round was sealed.</summary>
    public bool IsSealed { get; private set; } = isSealed;

    /// <summary>Lets a collector decide when the round is sealed.</summary>
    /// <exception cref="InvalidOperationException">The session has another collector.</exception>
    public void Attach(RoundCollector collector)
    {
        if (_collector is not null)
            throw new InvalidOperationException("The session has a collector already; dispose of it first.");
        _collector = collector;
    }

    public void Detach(RoundCollector collector) => _collector = ReferenceEquals(_collector, collector) ? null : _collector;

    /// <summary>Seals the round.</summary>
    /// <exception cref="FedIcuException">
    /// The journal cannot be written. The next change of the session tries again.
    /// </exception>
    public void Set()
    {
        _isDue = true;
        WriteIfDue();
    }

    /// <summary>Writes that the round is sealed, if it is due. Must come before any other line.</summary>
    /// <exception cref="FedIcuException">The journal cannot be written.</exception>
    public void WriteIfDue()
    {
        if (!_isDue || IsSealed)
            return;
        journal.Append(new JournalLine { Closed = clock.GetUtcNow() });
        IsSealed = true;
        endUploads();
        _collector?.Complete();
    }

    /// <summary>
    /// Seals the round. If the journal cannot be written, the next change of the session tries again.
    /// </summary>
    public void TrySet()
    {
        try
        {
            Set();
        }
        catch (FedIcuException)
        {
        }
    }

    /// <summary>Seals the round if the collector has all clients that it expects.</summary>
    public void SetIfFull(int count)
    {
        if (_collector is not { } collector || !collector.IsFull(count))
            return;
        TrySet();
        collector.Complete();
    }
}
