using FedICU.Rounds;
using FedICU.Strategies.Abstractions;

namespace FedICU;

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
