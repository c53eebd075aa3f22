using FedICU.Compute;
using FedICU.Memory;

namespace FedICU.Panels;

/// <summary>
/// Reads a packed update: entries that were sent have the client's values, the others the global model's.
/// </summary>
internal sealed unsafe class SparsePanelReader(DensePanelReader global, PanelReader values, PanelReader mask, SparseMask counts)
    : PanelReader
{
    public override DType DType => global.DType;

    public override long PreloadBytes => values.PreloadBytes + mask.PreloadBytes;

    public override void Preload(NativePool memory)
    {
        values.Preload(memory);
        mask.Preload(memory);
    }

    public override TensorPanel Read(long start, int count, Scratch scratch)
    {
        TensorPanel dense = global.ReadCopy(start, count, scratch);
        // the mask is read from the last counted entry on, which gives the panel's place in the values
        (long counted, long before) = counts.FindCount(start);
        int skipped = (int)(start - counted), bytes = (skipped + count + 7) / 8;
        var bits = new ReadOnlySpan<byte>(mask.Read(counted / 8, bytes, scratch).Data, bytes);
        int unread = SparseMask.CountBefore(bits, skipped), sent = SparseMask.CountBefore(bits, skipped + count) - unread;
        if (sent == 0)
            return dense;
        void* packed = values.Read(before + unread, sent, scratch).Data;
        switch (DType.BitSize)
        {
            case 16: SparseMask.Scatter(bits, skipped, count, (ushort*)packed, (ushort*)dense.Data); break;
            case 32: SparseMask.Scatter(bits, skipped, count, (uint*)packed, (uint*)dense.Data); break;
            default: SparseMask.Scatter(bits, skipped, count, (ulong*)packed, (ulong*)dense.Data); break;
        }

        return dense;
    }

    // the global model's reader is shared by all clients
    public override void Dispose()
    {
        values.Dispose();
        mask.Dispose();
    }
}
