using FedICU.Compute;

namespace FedICU.Rounds;

/// <summary>Counts NaN and infinite values of tensors on their way to another sink, and refuses the first tensor that has any.</summary>
/// <param name="inner">Where the tensors go.</param>
/// <param name="isChecked">Whether a tensor's values are counted.</param>
/// <param name="refuse">Makes the refusal of a tensor with that number of such values.</param>
internal sealed unsafe class ValueCheckSink(
    TensorSink inner, Func<TensorInfo, bool> isChecked, Func<TensorInfo, long, RoundRejectedException> refuse) : TensorSink
{
    private static readonly SimdBackend Backend = new();

    // of the tensor being written: TensorSource.SaveTo writes each from its start to its end
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
