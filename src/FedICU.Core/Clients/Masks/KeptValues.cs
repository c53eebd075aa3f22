using FedICU.Compute;
using FedICU.Memory;
using FedICU.Panels;

namespace FedICU.Clients.Masks;

/// <summary>
/// The packed values of a tensor's panels, kept between deciding the mask and writing the update, so that the trained
/// model is not read again. A panel is kept only while <see cref="MaskRun"/> has room.
/// </summary>
internal sealed unsafe class KeptValues(ClientTensor tensor)
{
    private readonly nint[] _panels = new nint[tensor.Panels.Count];

    /// <summary>Gets a panel's packed values; null if they were not kept.</summary>
    public byte* this[int piece] => (byte*)_panels[piece];

    /// <summary>Returns memory to pack a panel's values into; null if there is no room to keep them.</summary>
    public byte* TryBegin(Grouping.Panel panel, Scratch scratch) =>
        tensor.Run.HasRoom ? scratch.Take((long)panel.Length * tensor.ElementSize + IClientBackend.PackSlack) : null;

    /// <summary>Keeps a copy of a panel's packed values if there still is room.</summary>
    public void End(int piece, byte* values, long count) =>
        _panels[piece] = (nint)tensor.Run.TryKeep(values, count * tensor.ElementSize);
}
