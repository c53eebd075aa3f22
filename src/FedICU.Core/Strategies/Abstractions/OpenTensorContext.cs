using FedICU.Rounds;

namespace FedICU.Strategies.Abstractions;

/// <summary>A tensor's context with its end: what was opened for it is closed. Then it may be opened again for another tensor, and what it holds serves once more.</summary>
internal sealed class OpenTensorContext(RoundState round, TensorInfo info, TensorInfo output, ProgressMeter.TensorProgress? progress = null, int number = 0)
    : TensorContext(round, info, output, progress, number), IDisposable
{
    /// <summary>Opens it again.</summary>
    /// <param name="info">The global model's tensor.</param>
    /// <param name="output">The tensor in the output.</param>
    /// <param name="progress">Told how far it is.</param>
    /// <param name="number">The tensor's number in the global model.</param>
    public OpenTensorContext Open(TensorInfo info, TensorInfo output, ProgressMeter.TensorProgress? progress, int number)
    {
        Begin(info, output, progress, number);
        return this;
    }

    public void Dispose() => Close();
}
