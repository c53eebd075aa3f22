namespace FedICU.Compute;

/// <summary>How a panel's elements form groups: a row-major matrix whose columns, or whose rows, are the groups.</summary>
/// <param name="Rows">Rows of the panel.</param>
/// <param name="Columns">Columns of the panel; elements of a row lie side by side.</param>
/// <param name="GroupsAreColumns">True: group = column index; false: group = row index.</param>
public readonly record struct PanelGeometry(int Rows, int Columns, bool GroupsAreColumns)
{
    /// <summary>Columns of a block in <see cref="IComputeBackend.AddProjections"/>; a part of the fixed reduction shape.</summary>
    public const int ProjectionBlock = 256;

    /// <summary>Rows of a block there, where columns are groups; rows that are left over are blocks of one.</summary>
    public const int RowsAbreast = 4;

    /// <summary>Rows x columns.</summary>
    public int Length => Rows * Columns;

    /// <summary>How many groups there are.</summary>
    public int Groups => GroupsAreColumns ? Columns : Rows;
}
