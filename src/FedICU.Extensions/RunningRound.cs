namespace FedICU.Extensions;

/// <summary>A round that takes updates: its global model, its session and the collector over it.</summary>
internal sealed class RunningRound : IDisposable
{
    /// <summary>Opens a round, which may have begun before a restart.</summary>
    /// <exception cref="FedIcuException">The model or the session cannot be opened.</exception>
    public RunningRound(
        long number, int attempt, string model, string session, RoundOptions options, SessionOptions arrivals,
        RoundCollectorOptions complete, CancellationToken cancellationToken)
    {
        (Number, Attempt) = (number, attempt);
        Global = TensorSource.Open(model);
        try
        {
            Session = AggregationSession.OpenOrCreate(session, Global, options with { Round = number }, arrivals, cancellationToken);
            Collector = RoundCollector.Over(Session, complete);
            Deadline = Session.Begun + complete.Deadline;
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public long Number { get; }

    public int Attempt { get; }

    public TensorSource Global { get; }

    public AggregationSession Session { get; } = null!;

    public RoundCollector Collector { get; } = null!;

    public DateTimeOffset? Deadline { get; }

    /// <summary>
    /// The clients that the aggregation named as the cause of a refusal, with the reason. A restart finds them again.
    /// </summary>
    public Dictionary<string, string> LeftOut { get; } = new(StringComparer.Ordinal);

    /// <summary>Closes the round, which stays on the disk.</summary>
    public void Dispose()
    {
        Collector?.Dispose();
        Session?.Dispose();
        Global.Dispose();
    }
}
