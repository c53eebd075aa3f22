using FedICU.Compute;
using FedICU.Gpu.Kernels;

namespace FedICU.Gpu;

/// <summary>A rectangle of a panel that goes to the device at once. How a panel is cut depends on its shape, the number of inputs and the size of chunks alone.</summary>
internal readonly unsafe record struct Chunk(int Row, int Rows, int Column, int Columns, int PanelColumns)
{
    // whole blocks of moments, whole bytes of masks
    private const int Grain = MagnitudeMoments.Block;

    public int Length => Rows * Columns;

    public static List<Chunk> OfElements(int length, int bytesOfElement, long chunkBytes)
    {
        int most = (int)Math.Clamp(chunkBytes / bytesOfElement / Grain * Grain, Grain, int.MaxValue / Grain * Grain);
        var chunks = new List<Chunk>();
        for (int at = 0; at < length; at += Math.Min(most, length - at))
            chunks.Add(new Chunk(0, 1, at, Math.Min(most, length - at), length));
        return chunks;
    }

    public static List<Chunk> OfMatrix(PanelGeometry geometry, int bytesOfElement, long bytesOfGroup, long chunkBytes)
    {
        var chunks = new List<Chunk>();
        (int rows, int columns) = (geometry.Rows, geometry.Columns);
        if (rows == 0 || columns == 0)
            return chunks;
        long bytesOfColumn = bytesOfElement + (geometry.GroupsAreColumns ? bytesOfGroup : 0);
        int width = (int)Math.Clamp(chunkBytes / bytesOfColumn, 1, columns);
        long bytesOfRow = (long)width * bytesOfElement + (geometry.GroupsAreColumns ? 0 : bytesOfGroup), spent = geometry.GroupsAreColumns ? width * bytesOfGroup : 0;
        int height = (int)Math.Clamp((chunkBytes - spent) / bytesOfRow, 1, rows);
        for (int row = 0; row < rows; row += Math.Min(height, rows - row))
        {
            for (int column = 0; column < columns; column += Math.Min(width, columns - column))
                chunks.Add(new Chunk(row, Math.Min(height, rows - row), column, Math.Min(width, columns - column), columns));
        }

        return chunks;
    }

    public long GroupsOf(PanelGeometry geometry) => geometry.GroupsAreColumns ? Columns : Rows;

    /// <summary>Its first group.</summary>
    public int GroupOf(PanelGeometry geometry) => geometry.GroupsAreColumns ? Column : Row;

    public DeviceGeometry OnDevice => new() { Rows = Rows, Columns = Columns, Nothing = -0.0 };

    /// <summary>Copies its elements together, widened where the type is another.</summary>
    public void CopyFrom(TensorPanel panel, DType dtype, byte* target)
    {
        int size = dtype.BitSize / 8;
        for (int row = 0; row < Rows; row += RowsAtOnce)
        {
            long at = (long)(Row + row) * PanelColumns + Column;
            int count = RowsAtOnce * Columns;
            byte* there = target + (long)row * Columns * size;
            if (panel.DType == dtype)
            {
                new ReadOnlySpan<byte>((byte*)panel.Data + at * size, count * size).CopyTo(new Span<byte>(there, count * size));
                continue;
            }

            for (int i = 0; i < count; i++)
                ((double*)there)[i] = Rounding.Read(panel.Data, panel.DType, at + i);
        }
    }

    /// <summary>Copies elements that lie together to their places.</summary>
    public void CopyTo(byte* made, TensorPanel panel)
    {
        int size = panel.DType.BitSize / 8, count = RowsAtOnce * Columns * size;
        for (int row = 0; row < Rows; row += RowsAtOnce)
            new ReadOnlySpan<byte>(made + (long)row * Columns * size, count).CopyTo(new Span<byte>((byte*)panel.Data + ((long)(Row + row) * PanelColumns + Column) * size, count));
    }

    private int RowsAtOnce => Columns == PanelColumns ? Rows : 1;
}
