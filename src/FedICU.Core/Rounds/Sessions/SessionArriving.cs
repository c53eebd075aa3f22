namespace FedICU.Rounds.Sessions;

/// <summary>An update that is arriving at a session.</summary>
/// <param name="client">The client's id.</param>
/// <param name="isCopy">Whether it is copied from a file or memory, not received as a stream.</param>
/// <param name="cancellationToken">The caller's token.</param>
internal sealed class SessionArriving(string client, bool isCopy, CancellationToken cancellationToken) : IDisposable
{
    private readonly CancellationTokenSource _source = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
    private readonly TaskCompletionSource _completion = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public string Client => client;

    public bool IsCopy => isCopy;

    /// <summary>Ends the reading: for the caller, and for the session.</summary>
    public CancellationToken Token => _source.Token;

    /// <summary>Whether the session ended it; the caller did not.</summary>
    public bool IsEnded { get; private set; }

    /// <summary>Completes when nothing more of the update is written.</summary>
    public Task Completion => _completion.Task;

    /// <summary>Ends it because the session takes it no more.</summary>
    public void End()
    {
        IsEnded = !cancellationToken.IsCancellationRequested;
        // not Cancel: the caller's code after its read would run here, inside the session's lock
        _ = _source.CancelAsync();
    }

    public void Dispose()
    {
        _source.Dispose();
        _completion.TrySetResult();
    }
}
