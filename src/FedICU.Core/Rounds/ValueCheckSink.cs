using FedICU.Compute;

namespace FedICU.Rounds;

/// <summary>
/// Passes tensors on to another sink, counts their NaN and infinite values, and refuses the first tensor that has any.
/// </summary>
/// <param name="inner">Receives the tensors.</param>
/// <param name="isChecked">Tells whether a tensor's values are counted.</param>
/// <param name="refuse">Creates the refusal of a tensor from the number of such values.</param>
internal sealed unsafe class ValueCheckSink(
    TensorSink inner, Func<TensorInfo, bool> isChecked, Func<TensorInfo, long, RoundRejectedException> refuse) : TensorSink
{
    private static readonly SimdBackend Backend = new();

    // the count of the tensor that is being written: TensorSource.SaveTo writes each tensor from its start to its end
    private long _count;

    public override void Begin(IReadOnlyList<TensorInfo> tensors, IReadOnlyDictionary<string, string> metadata) =>
        inner.Begin(tensors, metadata);

    public override void Write(TensorInfo tensor, long offset, ReadOnlySpan<byte> source)
    {
        if (tensor.DType.IsComputed && isChecked(tensor))
        {
            int elements = source.Length / (tensor.DType.BitSize / 8);
            fixed (byte* values = source)
                _count = (offset == 0 ? 0 : _count) + Backend.CountNonFinite(new TensorPanel(values, tensor.DType), elements);
            if (_count > 0 && offset + source.Length == tensor.ByteLength)
                throw refuse(tensor, _count);
        }

        inner.Write(tensor, offset, source);
    }

    public override void Commit() => inner.Commit();

    public override void Abort() => inner.Abort();
}
