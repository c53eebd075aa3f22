using System.Runtime.CompilerServices;

namespace FedICU.Panels;

/// <summary>Transposes a matrix.</summary>
internal static unsafe class MatrixTranspose
{
    // rows at a time: chosen, as values of a whole column would leave the cache before they are used again
    private const int BlockRows = 64;

    /// <summary>Writes the transpose of a row-major matrix.</summary>
    /// <param name="from">The matrix.</param>
    /// <param name="rows">Its rows.</param>
    /// <param name="columns">Its columns.</param>
    /// <param name="to">Receives columns x rows values.</param>
    /// <param name="cancellationToken">Ends the work between blocks.</param>
    public static void Run(double* from, long rows, long columns, double* to, CancellationToken cancellationToken) =>
        Run(from, rows, columns, to, rows, cancellationToken);

    /// <summary>Writes the transpose to rows of a longer matrix.</summary>
    /// <param name="from">The matrix.</param>
    /// <param name="rows">Its rows.</param>
    /// <param name="columns">Its columns.</param>
    /// <param name="to">Receives columns x rows values.</param>
    /// <param name="stride">The values from one row of the target to the next.</param>
    /// <param name="cancellationToken">Ends the work between blocks.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Run(double* from, long rows, long columns, double* to, long stride, CancellationToken cancellationToken)
    {
        for (long first = 0; first < rows; first += BlockRows)
        {
            cancellationToken.ThrowIfCancellationRequested();
            long end = Math.Min(first + BlockRows, rows);
            for (long column = 0; column < columns; column++)
            {
                for (long row = first; row < end; row++)
                    to[column * stride + row] = from[row * columns + column];
            }
        }
    }
}
