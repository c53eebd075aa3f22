using FedICU.Panels;
using FedICU.Rounds;

namespace FedICU.Strategies.Abstractions;

/// <summary>
/// A tensor's context that its owner can close, and open again for another tensor. Its readers and buffers are reused.
/// </summary>
internal sealed class OpenTensorContext : TensorContext, IDisposable
{
    public OpenTensorContext(RoundRun run, TensorInfo info, TensorInfo output, IPassProgress? progress = null, int number = 0)
        : base(run) =>
        Open(info, output, progress, number);

    /// <summary>Opens a closed context for another tensor.</summary>
    /// <param name="info">The global model's tensor.</param>
    /// <param name="output">The tensor in the output.</param>
    /// <param name="progress">Receives the progress on the tensor.</param>
    /// <param name="number">The tensor's number in the global model.</param>
    public void Open(TensorInfo info, TensorInfo output, IPassProgress? progress, int number) => Begin(info, output, progress, number);

    /// <summary>Closes the tensor's readers; the context may be opened again.</summary>
    public void Dispose() => Close();
}
