using FedICU.Compute;
using FedICU.Memory;

namespace FedICU.Panels;

/// <summary>A packed update over the global model: sent entries as the client has them, the others as the global model has them.</summary>
internal sealed unsafe class SparsePanelReader(DensePanelReader global, PanelReader values, PanelReader mask, SparseMask counts) : PanelReader
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
        // from the last counted entry on, so that the panel's place in the values is known
        (long counted, long before) = counts.LastUpTo(start);
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

    // the global's reader belongs to the tensor, not to one client
    public override void Dispose()
    {
        values.Dispose();
        mask.Dispose();
    }
}
