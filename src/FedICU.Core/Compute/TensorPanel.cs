namespace FedICU.Compute;

/// <summary>The address and type of a contiguous run of elements. Its length is the verb's argument.</summary>
/// <param name="data">The first element; null for a panel that is left out.</param>
/// <param name="dtype">f64, f32, f16 or bf16.</param>
/// <param name="onDevice">Whether the address is one of the backend's device, not of host memory.</param>
public readonly unsafe struct TensorPanel(void* data, DType dtype, bool onDevice = false)
{
    /// <summary>The first element; null for a panel that is left out.</summary>
    public void* Data { get; } = data;

    /// <summary>The type of the elements.</summary>
    public DType DType { get; } = dtype;

    /// <summary>Whether the address is one of <see cref="IComputeBackend.Device"/>, not of host memory.</summary>
    public bool OnDevice { get; } = onDevice;
}

/// <summary>N x groups values in float64: value of input k and group g at Data[k * Stride + g].</summary>
/// <param name="data">The value of input 0 and group 0.</param>
/// <param name="stride">The distance from one input to the next.</param>
public readonly unsafe struct GroupValues(double* data, long stride)
{
    /// <summary>The value of input 0 and group 0.</summary>
    public double* Data { get; } = data;

    /// <summary>The distance from one input to the next.</summary>
    public long Stride { get; } = stride;

    /// <summary>The values of one input.</summary>
    public double* Row(int input) => Data + input * Stride;
}

/// <summary>The order of the pairs (j, k), j &lt;= k, of N inputs: the pairs of a further input come after all others.</summary>
public static class GramPairs
{
    /// <summary>How many pairs there are.</summary>
    public static int Count(int inputs) => inputs * (inputs + 1) / 2;

    /// <summary>The place of a pair, j &lt;= k.</summary>
    public static int Index(int j, int k) => Count(k) + j;
}

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
