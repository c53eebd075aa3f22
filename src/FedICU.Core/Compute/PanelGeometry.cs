namespace FedICU.Compute;

/// <summary>The groups of a panel's elements: the columns, or the rows, of a row-major matrix.</summary>
/// <param name="Rows">The rows of the panel.</param>
/// <param name="Columns">The columns of the panel; the elements of a row are contiguous.</param>
/// <param name="GroupsAreColumns">True if the group is the column index, false if it is the row index.</param>
public readonly record struct PanelGeometry(int Rows, int Columns, bool GroupsAreColumns)
{
    /// <summary>
    /// The columns of a block in <see cref="IComputeBackend.AddProjections"/>. Part of the fixed reduction shape.
    /// </summary>
    public const int ProjectionBlock = 256;

    /// <summary>
    /// The rows of a block in <see cref="IComputeBackend.AddProjections"/> if columns are groups; each remaining row is
    /// a block of its own. Part of the fixed reduction shape.
    /// </summary>
    public const int RowsPerBlock = 4;

    /// <summary>
    /// The elements of a block in <see cref="IComputeBackend.AddPairDistances"/>. Part of the fixed reduction shape.
    /// </summary>
    public const int DistanceBlock = 256;

    /// <summary>Gets the number of elements: rows x columns.</summary>
    public int Length => Rows * Columns;

    /// <summary>Gets the number of groups.</summary>
    public int Groups => GroupsAreColumns ? Columns : Rows;

    /// <summary>
    /// Returns the number of elements of a panel for a CPU, a multiple of 64. It is chosen so that a worker's panels of
    /// all inputs take a few megabytes together. Part of the fixed reduction shape.
    /// </summary>
    /// <param name="inputs">The number of inputs that a verb reads side by side.</param>
    public static int GetElementsOfCpuPanel(int inputs) => (int)Math.Clamp((1L << 20) / (inputs + 1), 1 << 10, 1 << 18) & ~63;
}
