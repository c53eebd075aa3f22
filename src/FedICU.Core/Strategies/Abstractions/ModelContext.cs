using FedICU.Rounds;
using FedICU.Strategies.Abstractions;

namespace FedICU;

/// <summary>The clients and tensors of a round, which a strategy sees before the first tensor is aggregated.</summary>
public sealed class ModelContext
{
    private readonly Func<long, ProgressMeter?> _createMeter;
    private readonly Func<TensorInfo, ProgressMeter.TensorProgress?, OpenTensorContext> _open;
    private ProgressMeter? _meter;

    internal ModelContext(
        IReadOnlyList<RoundClient> clients, IReadOnlyList<TensorInfo> tensors, Func<long, ProgressMeter?> createMeter,
        Func<TensorInfo, ProgressMeter.TensorProgress?, OpenTensorContext> open) =>
        (Clients, Tensors, _createMeter, _open) = (clients, tensors, createMeter, open);

    /// <summary>Gets the clients in ordinal order of their ids.</summary>
    public IReadOnlyList<RoundClient> Clients { get; }

    /// <summary>Gets the tensors that will be aggregated, in the order of the global model.</summary>
    public IReadOnlyList<TensorInfo> Tensors { get; }

    /// <summary>
    /// Announces how many bytes will be read before the first tensor is aggregated, for the progress reports.
    /// </summary>
    internal void BeginPasses(long bytes) => _meter = _createMeter(bytes);

    /// <summary>Opens a tensor for one pass over it. The pass must not call a verb that writes the output.</summary>
    internal void RunPass(TensorInfo tensor, Action<TensorContext> pass)
    {
        ProgressMeter.TensorProgress? progress = _meter?.Begin(tensor);
        using OpenTensorContext context = _open(tensor, progress);
        context.Workers.CancellationToken.ThrowIfCancellationRequested();
        pass(context);
        progress?.End();
    }
}
