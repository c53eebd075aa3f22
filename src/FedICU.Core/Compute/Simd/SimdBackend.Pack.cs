namespace FedICU.Compute;

// Pack. It moves bits and computes nothing, so that the width of the registers does not matter: MaskBits uses what the
// CPU has.
public sealed unsafe partial class SimdBackend
{
    /// <inheritdoc/>
    public long Pack(TensorPanel source, int length, byte* mask, void* packed)
    {
        MaskBits.Pack(source.Data, source.DType.BitSize / 8, length, mask, packed);
        return MaskBits.Count(new ReadOnlySpan<byte>(mask, (length + 7) / 8));
    }
}
