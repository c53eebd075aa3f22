using FedICU;

namespace FolderRounds;

/// <summary>Holds a finished model back until <see cref="Publish"/>, so that its report can be saved first.</summary>
internal sealed unsafe class PendingSink(TensorSink inner) : TensorSink
{
    private bool _complete;

    public override void Begin(IReadOnlyList<TensorInfo> tensors, IReadOnlyDictionary<string, string> metadata) =>
        inner.Begin(tensors, metadata);

    public override void Write(TensorInfo tensor, long offset, ReadOnlySpan<byte> source) => inner.Write(tensor, offset, source);

    public override void* TryGetPointer(TensorInfo tensor) => inner.TryGetPointer(tensor);

    public override void Commit() => _complete = true;

    public override void Abort()
    {
        if (!_complete)
            inner.Abort();
    }

    /// <summary>Commits the model to the inner sink.</summary>
    public void Publish() => inner.Commit();

    /// <summary>Discards the model.</summary>
    public void Withdraw() => inner.Abort();
}
