namespace FedICU;

/// <summary>
/// The base of strategies: a strategy says how one tensor is made of the clients' tensors; checking, reading, threads, policies, report and output
/// are the round's.
/// </summary>
public abstract class TensorAggregator : IAggregator
{
    /// <inheritdoc/>
    public abstract string Name { get; }

    /// <inheritdoc/>
    public Task<AggregationResult> AggregateAsync(AggregationRound round, TensorSink output, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(round);
        ArgumentNullException.ThrowIfNull(output);
        return Task.Run(() => new RoundExecution(this, round, output, cancellationToken).Run(), cancellationToken);
    }

    /// <summary>Begins the strategy's work on a checked round. Called again where the round starts over without a dropped client.</summary>
    /// <param name="model">The tensors that <see cref="ITensorRule.Aggregate"/> will be called for, in the order of the global model.</param>
    /// <returns>The rule for this round; a strategy without state of the round returns itself.</returns>
    protected abstract ITensorRule Begin(ModelContext model);

    internal ITensorRule BeginRound(ModelContext model) => Begin(model);
}

/// <summary>How one tensor of a round is made.</summary>
public interface ITensorRule
{
    /// <summary>
    /// Whether <see cref="Aggregate"/> may be called for several tensors at once, which small tensors gain by. <value>Default: false, one tensor after
    /// the other in the order of the global model.</value>
    /// </summary>
    bool IsThreadSafe => false;

    /// <summary>Makes the output of one tensor by calling one of the context's writing verbs.</summary>
    /// <param name="tensor">The tensor: computed types only; integers and exotic types are the round's.</param>
    void Aggregate(TensorContext tensor);
}

/// <summary>The clients of a round and all its tensors, before the first is made.</summary>
public sealed class ModelContext
{
    private readonly Func<long, ProgressMeter?> _meter;
    private readonly Func<TensorInfo, ProgressMeter.TensorProgress?, OpenTensorContext> _open;
    private ProgressMeter? _looks;

    internal ModelContext(
        IReadOnlyList<RoundClient> clients, IReadOnlyList<TensorInfo> tensors, Func<long, ProgressMeter?> meter,
        Func<TensorInfo, ProgressMeter.TensorProgress?, OpenTensorContext> open) => (Clients, Tensors, _meter, _open) = (clients, tensors, meter, open);

    /// <summary>The clients in ordinal order of their ids.</summary>
    public IReadOnlyList<RoundClient> Clients { get; }

    /// <summary>The tensors that will be aggregated, in the order of the global model.</summary>
    public IReadOnlyList<TensorInfo> Tensors { get; }

    /// <summary>Says how many bytes will be looked at before the first tensor is made.</summary>
    internal void BeginLooks(long bytes) => _looks = _meter(bytes);

    /// <summary>Opens a tensor for one look. Its writing verbs are not to be used.</summary>
    internal void Look(TensorInfo tensor, Action<TensorContext> look)
    {
        ProgressMeter.TensorProgress? progress = _looks?.Begin(tensor);
        using OpenTensorContext context = _open(tensor, progress);
        context.Workers.CancellationToken.ThrowIfCancellationRequested();
        look(context);
        progress?.End();
    }
}
