using FedICU.Compute;
using FedICU.Gpu.Kernels;

namespace FedICU.Gpu.Execution;

/// <summary>
/// A rectangle of a panel that goes to the device at once. How a panel is cut depends only on its shape, the number of
/// inputs and the chunk size.
/// </summary>
internal readonly unsafe record struct Chunk(int Row, int Rows, int Column, int Columns, int PanelColumns)
{
    // Elements. Derived: a chunk must consist of whole blocks of moments, which are whole bytes of a mask too.
    private const int Granularity = MagnitudeMoments.Block;

    public int Length => Rows * Columns;

    public DeviceGeometry Geometry => new() { Rows = Rows, Columns = Columns, NegativeZero = -0.0 };

    // whole rows are contiguous in the panel and are copied together
    private int RowsPerCopy => Columns == PanelColumns ? Rows : 1;

    /// <summary>Cuts a panel of elements whose shape does not matter.</summary>
    public static List<Chunk> OfElements(int length, int bytesPerElement, long chunkBytes)
    {
        const int Largest = int.MaxValue / Granularity * Granularity;
        int most = (int)Math.Clamp(chunkBytes / bytesPerElement / Granularity * Granularity, Granularity, Largest);
        var chunks = new List<Chunk>();
        for (int start = 0; start < length; start += Math.Min(most, length - start))
            chunks.Add(new Chunk(0, 1, start, Math.Min(most, length - start), length));
        return chunks;
    }

    /// <summary>Cuts a matrix whose rows or columns are groups.</summary>
    public static List<Chunk> OfMatrix(PanelGeometry geometry, int bytesPerElement, long bytesPerGroup, long chunkBytes)
    {
        var chunks = new List<Chunk>();
        (int rows, int columns) = (geometry.Rows, geometry.Columns);
        if (rows == 0 || columns == 0)
            return chunks;
        long bytesPerColumn = bytesPerElement + (geometry.GroupsAreColumns ? bytesPerGroup : 0);
        int width = (int)Math.Clamp(chunkBytes / bytesPerColumn, 1, columns);
        long bytesPerRow = (long)width * bytesPerElement + (geometry.GroupsAreColumns ? 0 : bytesPerGroup);
        long bytesOfColumnGroups = geometry.GroupsAreColumns ? width * bytesPerGroup : 0;
        int height = (int)Math.Clamp((chunkBytes - bytesOfColumnGroups) / bytesPerRow, 1, rows);
        for (int row = 0; row < rows; row += Math.Min(height, rows - row))
        {
            for (int column = 0; column < columns; column += Math.Min(width, columns - column))
                chunks.Add(new Chunk(row, Math.Min(height, rows - row), column, Math.Min(width, columns - column), columns));
        }

        return chunks;
    }

    /// <summary>Returns the number of groups in this chunk.</summary>
    public long GroupCount(PanelGeometry geometry) => geometry.GroupsAreColumns ? Columns : Rows;

    /// <summary>Returns the panel's index of this chunk's first group.</summary>
    public int FirstGroup(PanelGeometry geometry) => geometry.GroupsAreColumns ? Column : Row;

    /// <summary>
    /// Copies this chunk of a panel to contiguous memory; converts it to float64 if the panel's type is not
    /// <paramref name="dtype"/>.
    /// </summary>
    public void CopyFrom(TensorPanel panel, DType dtype, byte* target)
    {
        int size = dtype.BitSize / 8;
        for (int row = 0; row < Rows; row += RowsPerCopy)
        {
            long start = (long)(Row + row) * PanelColumns + Column;
            int count = RowsPerCopy * Columns;
            byte* rowTarget = target + (long)row * Columns * size;
            if (panel.DType == dtype)
            {
                new ReadOnlySpan<byte>((byte*)panel.Data + start * size, count * size).CopyTo(new Span<byte>(rowTarget, count * size));
                continue;
            }

            for (int i = 0; i < count; i++)
                ((double*)rowTarget)[i] = Rounding.Read(panel.Data, panel.DType, start + i);
        }
    }

    /// <summary>Copies contiguous elements to this chunk of a panel.</summary>
    public void CopyTo(byte* source, TensorPanel panel)
    {
        int size = panel.DType.BitSize / 8, count = RowsPerCopy * Columns * size;
        for (int row = 0; row < Rows; row += RowsPerCopy)
        {
            byte* target = (byte*)panel.Data + ((long)(Row + row) * PanelColumns + Column) * size;
            new ReadOnlySpan<byte>(source + (long)row * Columns * size, count).CopyTo(new Span<byte>(target, count));
        }
    }
}
