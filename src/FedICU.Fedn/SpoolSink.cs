using FedICU.Fedn.Npz;

namespace FedICU.Fedn;

/// <summary>
/// Writes a model to a safetensors file of the spool, and reserves its bytes before the first of them is written.
/// </summary>
internal sealed unsafe class SpoolSink(SpoolFile file) : TensorSink
{
    private readonly TensorSink _inner = ToFile(file.Path);

    /// <inheritdoc/>
    public override void Begin(IReadOnlyList<TensorInfo> tensors, IReadOnlyDictionary<string, string> metadata)
    {
        file.Grow(HeaderBound.Of(tensors) + tensors.Sum(tensor => tensor.ByteLength));
        _inner.Begin(tensors, metadata);
    }

    /// <inheritdoc/>
    public override void Write(TensorInfo tensor, long offset, ReadOnlySpan<byte> source) => _inner.Write(tensor, offset, source);

    /// <inheritdoc/>
    public override void* TryGetPointer(TensorInfo tensor) => _inner.TryGetPointer(tensor);

    /// <inheritdoc/>
    public override void Commit()
    {
        _inner.Commit();
        file.Settle();
    }

    /// <inheritdoc/>
    public override void Abort() => _inner.Abort();

    internal override object? Device => _inner.Device;

    internal override bool CanAmend => _inner.CanAmend;

    internal override (string Path, bool IsFolder)? Place => _inner.Place;

    internal override nint AddressOnDevice(TensorInfo tensor) => _inner.AddressOnDevice(tensor);

    internal override void Amend(IReadOnlyDictionary<string, string> metadata) => _inner.Amend(metadata);
}
