namespace FedICU.Fedn;

/// <summary>A model that is arriving. Its place in the round is reserved from its first message on.</summary>
/// <param name="id">The client, or the id of the global model.</param>
/// <param name="round">The number of the round that it belongs to.</param>
/// <param name="cancellationToken">Ends the call.</param>
internal sealed class Upload(string id, long round, CancellationToken cancellationToken) : IDisposable
{
    private readonly CancellationTokenSource _source = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);

    public string Id => id;

    public long Round => round;

    /// <summary>Ends the reading: at the call's end, and when the round is over.</summary>
    public CancellationToken Token => _source.Token;

    /// <summary>Whether the round was over before the model had arrived.</summary>
    public bool IsTooLate { get; private set; }

    /// <summary>Ends the reading because the round is over.</summary>
    public void End()
    {
        IsTooLate = true;
        _source.Cancel();
    }

    public void Dispose() => _source.Dispose();
}
