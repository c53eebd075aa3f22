namespace FedICU.Lora;

/// <summary>A small dense matrix in column-major order, as MathNet's providers take it.</summary>
/// <param name="rows">The number of rows.</param>
/// <param name="columns">The number of columns.</param>
internal sealed class SmallMatrix(int rows, int columns)
{
    public int Rows => rows;

    public int Columns => columns;

    /// <summary>The values, column by column.</summary>
    public double[] Values { get; init; } = new double[checked(rows * columns)];

    public double this[int row, int column]
    {
        get => Values[column * rows + row];
        set => Values[column * rows + row] = value;
    }

    /// <summary>Computes the product with another matrix, each entry in ascending order of the inner index.</summary>
    public SmallMatrix Times(SmallMatrix other)
    {
        var product = new SmallMatrix(rows, other.Columns);
        for (int j = 0; j < other.Columns; j++)
        {
            Span<double> column = product.Values.AsSpan(j * rows, rows);
            for (int k = 0; k < columns; k++)
                System.Numerics.Tensors.TensorPrimitives.FusedMultiplyAdd(Values.AsSpan(k * rows, rows), other[k, j], column, column);
        }

        return product;
    }

    public SmallMatrix Transpose()
    {
        var transposed = new SmallMatrix(columns, rows);
        for (int i = 0; i < rows; i++)
        {
            for (int j = 0; j < columns; j++)
                transposed[j, i] = this[i, j];
        }

        return transposed;
    }
}
