namespace FedICU.Strategies.Abstractions;

/// <summary>
/// Models that a merge of pairs writes beside the round's output. Nothing is visible before the commit.
/// </summary>
internal abstract class PairOutputs : IDisposable
{
    /// <summary>Begins to write. Throws if a place cannot be written.</summary>
    public abstract void Begin();

    /// <summary>Writes what no pair has a part in, and publishes.</summary>
    /// <remarks>
    /// Called before the round's output is published, which may replace the global model. Until then every input of the
    /// round is as it was, so that an interrupted round can run again.
    /// </remarks>
    public abstract void Commit(CancellationToken cancellationToken);

    /// <summary>Discards what was not committed.</summary>
    public abstract void Dispose();
}
