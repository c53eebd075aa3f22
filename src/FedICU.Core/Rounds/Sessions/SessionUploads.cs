namespace FedICU.Rounds.Sessions;

/// <summary>The updates that are arriving at a session, so that it can end them. Not thread-safe.</summary>
internal sealed class SessionUploads
{
    private readonly HashSet<SessionArriving> _open = [];

    /// <summary>Begins an update.</summary>
    /// <param name="client">The client's id.</param>
    /// <param name="isCopy">Whether it is copied from a file or memory, not received as a stream.</param>
    /// <param name="cancellationToken">The caller's token.</param>
    public SessionArriving Begin(string client, bool isCopy, CancellationToken cancellationToken)
    {
        var arriving = new SessionArriving(client, isCopy, cancellationToken);
        _open.Add(arriving);
        return arriving;
    }

    public void Remove(SessionArriving arriving)
    {
        _open.Remove(arriving);
        arriving.Dispose();
    }

    /// <summary>Ends the updates of some clients.</summary>
    /// <param name="isEnded">Whether a client's update ends; null: all end.</param>
    /// <returns>A task that completes once the copies among them have ended.</returns>
    public Task End(Predicate<string>? isEnded = null)
    {
        SessionArriving[] ended = [.. _open.Where(arriving => isEnded?.Invoke(arriving.Client) ?? true)];
        foreach (SessionArriving arriving in ended)
            arriving.End();
        return Task.WhenAll(ended.Where(arriving => arriving.IsCopy).Select(arriving => arriving.Completion));
    }
}
