namespace FedICU.Clients.Masks;

/// <summary>
/// <see cref="MaskRule.Hard"/>: the entries whose update is more important are sent with the trained model's values.
/// </summary>
internal sealed unsafe class HardMask(ClientTensor tensor, MagnitudeScales scales) : ComparingMask(tensor, scales)
{
    // a dense update is written whole, not from packed values
    private readonly KeptValues? _kept = tensor.Run.IsDense ? null : new KeptValues(tensor);

    protected override KeptValues? Kept => _kept;

    public override byte* TryGetPacked(int piece) => _kept is null ? null : _kept[piece];
}
