using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace FedICU.Compute;

/// <summary>
/// Triangular solves and products with many long rows. A tile of all rows is copied into the cache first, and four
/// results are computed side by side, so that each loaded value serves four multiply-adds.
/// </summary>
/// <remarks>
/// Each result is one chain of fused multiply-adds in ascending order, whatever the width of the CPU's vectors is: the
/// bits are the same everywhere.
/// </remarks>
internal static unsafe class RowKernels
{
    // columns of a tile: chosen, 80 rows of them take 40 KiB. Must be a multiple of Step.
    private const int TileColumns = 64;

    // results that are computed side by side: their sums stay in registers
    private const int Side = 4;

    // columns of two vectors of 512 bits
    private const int Step = 16;

    /// <summary>Solves X = L Y for the rows Y, in place.</summary>
    /// <param name="entryOf">The entry of L, lower triangular, in a row and a column.</param>
    /// <param name="rows">X, which becomes Y: count x length.</param>
    /// <param name="count">The number of rows.</param>
    /// <param name="length">The length of the rows.</param>
    /// <param name="cancellationToken">Ends the work between tiles.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Solve(
        Func<int, int, double> entryOf, double* rows, int count, long length, CancellationToken cancellationToken)
    {
        int padded = (count + Side - 1) / Side * Side;
        double[] packed = Pack(padded, padded, (i, j) => i < count && j < count ? -entryOf(i, j) : i == j ? -1 : 0);
        double[] tile = new double[padded * TileColumns];
        fixed (double* values = tile, coefficients = packed)
        {
            for (long start = 0; start < length; start += TileColumns)
            {
                cancellationToken.ThrowIfCancellationRequested();
                int columns = (int)Math.Min(TileColumns, length - start);
                CopyIn(rows + start, length, values, count, columns);
                for (int i = 0; i < padded; i += Side)
                {
                    for (int column = 0; column < columns; column += Step)
                        SolveFour(coefficients + (long)i * padded, values + column, i);
                }

                CopyOut(values, rows + start, length, count, columns);
            }
        }
    }

    /// <summary>Adds the rows of M X to other rows.</summary>
    /// <param name="entryOf">The entry of M in a row and a column.</param>
    /// <param name="results">The rows of M.</param>
    /// <param name="rows">X: count x length.</param>
    /// <param name="count">The number of rows of X.</param>
    /// <param name="length">The length of the rows.</param>
    /// <param name="output">Results x length, added to.</param>
    /// <param name="cancellationToken">Ends the work between tiles.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void AddProduct(
        Func<int, int, double> entryOf, int results, double* rows, int count, long length, double* output,
        CancellationToken cancellationToken)
    {
        int padded = (results + Side - 1) / Side * Side;
        double[] packed = Pack(padded, count, (i, j) => i < results ? entryOf(i, j) : 0);
        double[] tile = new double[count * TileColumns], sums = new double[padded * TileColumns];
        fixed (double* values = tile, ofTile = sums, coefficients = packed)
        {
            for (long start = 0; start < length; start += TileColumns)
            {
                cancellationToken.ThrowIfCancellationRequested();
                int columns = (int)Math.Min(TileColumns, length - start);
                CopyIn(rows + start, length, values, count, columns);
                CopyIn(output + start, length, ofTile, results, columns);
                for (int i = 0; i < padded; i += Side)
                {
                    for (int column = 0; column < columns; column += Step)
                        AddFour(coefficients + (long)i * count, values + column, count, ofTile + i * TileColumns + column);
                }

                CopyOut(ofTile, output + start, length, results, columns);
            }
        }
    }

    /// <summary>Arranges a matrix so that the entries of four rows in one column lie side by side.</summary>
    private static double[] Pack(int rows, int columns, Func<int, int, double> entryOf)
    {
        double[] packed = new double[checked(rows * columns)];
        for (int i = 0; i < rows; i++)
        {
            for (int j = 0; j < columns; j++)
                packed[i / Side * Side * columns + j * Side + i % Side] = entryOf(i, j);
        }

        return packed;
    }

    private static void CopyIn(double* from, long stride, double* tile, int count, int columns)
    {
        for (int i = 0; i < count; i++)
        {
            var row = new Span<double>(tile + i * TileColumns, TileColumns);
            new ReadOnlySpan<double>(from + i * stride, columns).CopyTo(row);
            row[columns..].Clear();
        }
    }

    private static void CopyOut(double* tile, double* to, long stride, int count, int columns)
    {
        for (int i = 0; i < count; i++)
            new ReadOnlySpan<double>(tile + i * TileColumns, columns).CopyTo(new Span<double>(to + i * stride, columns));
    }

    /// <summary>Adds four results of a product in 16 columns.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void AddFour(double* coefficients, double* values, int count, double* sums)
    {
        Vector512<double> a0 = Vector512.Load(sums), a1 = Vector512.Load(sums + 8);
        Vector512<double> b0 = Vector512.Load(sums + TileColumns), b1 = Vector512.Load(sums + TileColumns + 8);
        Vector512<double> c0 = Vector512.Load(sums + 2 * TileColumns), c1 = Vector512.Load(sums + 2 * TileColumns + 8);
        Vector512<double> d0 = Vector512.Load(sums + 3 * TileColumns), d1 = Vector512.Load(sums + 3 * TileColumns + 8);
        for (int j = 0; j < count; j++)
        {
            Vector512<double> x0 = Vector512.Load(values + j * TileColumns), x1 = Vector512.Load(values + j * TileColumns + 8);
            double* of = coefficients + j * Side;
            Vector512<double> factor = Vector512.Create(of[0]);
            (a0, a1) = (Vector512.FusedMultiplyAdd(factor, x0, a0), Vector512.FusedMultiplyAdd(factor, x1, a1));
            factor = Vector512.Create(of[1]);
            (b0, b1) = (Vector512.FusedMultiplyAdd(factor, x0, b0), Vector512.FusedMultiplyAdd(factor, x1, b1));
            factor = Vector512.Create(of[2]);
            (c0, c1) = (Vector512.FusedMultiplyAdd(factor, x0, c0), Vector512.FusedMultiplyAdd(factor, x1, c1));
            factor = Vector512.Create(of[3]);
            (d0, d1) = (Vector512.FusedMultiplyAdd(factor, x0, d0), Vector512.FusedMultiplyAdd(factor, x1, d1));
        }

        a0.Store(sums);
        a1.Store(sums + 8);
        b0.Store(sums + TileColumns);
        b1.Store(sums + TileColumns + 8);
        c0.Store(sums + 2 * TileColumns);
        c1.Store(sums + 2 * TileColumns + 8);
        d0.Store(sums + 3 * TileColumns);
        d1.Store(sums + 3 * TileColumns + 8);
    }

    /// <summary>Solves rows first .. first + 3 in 16 columns; the rows before them are solved.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void SolveFour(double* coefficients, double* values, int first)
    {
        double* own = values + first * TileColumns;
        AddFour(coefficients, values, first, own);
        for (int r = 0; r < Side; r++)
        {
            double* row = own + r * TileColumns;
            Vector512<double> s0 = Vector512.Load(row), s1 = Vector512.Load(row + 8);
            for (int q = 0; q < r; q++)
            {
                Vector512<double> factor = Vector512.Create(coefficients[(first + q) * Side + r]);
                s0 = Vector512.FusedMultiplyAdd(factor, Vector512.Load(own + q * TileColumns), s0);
                s1 = Vector512.FusedMultiplyAdd(factor, Vector512.Load(own + q * TileColumns + 8), s1);
            }

            // the coefficients are the negative entries of L
            Vector512<double> diagonal = Vector512.Create(-coefficients[(first + r) * Side + r]);
            (s0 / diagonal).Store(row);
            (s1 / diagonal).Store(row + 8);
        }
    }
}
