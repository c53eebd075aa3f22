namespace FedICU.Rounds.Sessions;

/// <summary>
/// Closes a session's round: in the journal, so that the order of its lines decides which client is late, and at the
/// collector. Not thread-safe.
/// </summary>
internal sealed class SessionClosing(SessionJournal journal, TimeProvider clock, bool isClosed)
{
    private RoundCollector? _collector;
    // the round is over, but the journal may not contain that yet
    private bool _isDue = isClosed;

    /// <summary>Whether the journal contains that the round was closed.</summary>
    public bool IsClosed { get; private set; } = isClosed;

    /// <summary>Lets a collector decide when the round is closed.</summary>
    /// <exception cref="InvalidOperationException">The session has another collector.</exception>
    public void Attach(RoundCollector collector)
    {
        if (_collector is not null)
            throw new InvalidOperationException("The session has a collector already; dispose of it first.");
        _collector = collector;
    }

    public void Detach(RoundCollector collector) => _collector = ReferenceEquals(_collector, collector) ? null : _collector;

    /// <summary>Closes the round.</summary>
    /// <exception cref="FedIcuException">
    /// The journal cannot be written. The next change of the session tries again.
    /// </exception>
    public void Close()
    {
        _isDue = true;
        WriteIfDue();
    }

    /// <summary>Writes that the round is closed, if it is due. Must come before any other line.</summary>
    /// <exception cref="FedIcuException">The journal cannot be written.</exception>
    public void WriteIfDue()
    {
        if (!_isDue || IsClosed)
            return;
        journal.Append(new JournalLine { Closed = clock.GetUtcNow() });
        IsClosed = true;
        _collector?.Complete();
    }

    /// <summary>
    /// Closes the round. If the journal cannot be written, the next change of the session tries again.
    /// </summary>
    public void TryClose()
    {
        try
        {
            Close();
        }
        catch (FedIcuException)
        {
        }
    }

    /// <summary>Closes the round if the collector has all clients that it expects.</summary>
    public void CloseIfFull(int inTimeCount)
    {
        if (_collector is not { } collector || !collector.IsFull(inTimeCount))
            return;
        TryClose();
        collector.Complete();
    }
}
