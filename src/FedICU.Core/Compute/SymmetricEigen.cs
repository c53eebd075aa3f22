using System.Numerics;

namespace FedICU.Compute;

/// <summary>
/// Computes eigenvalues and eigenvectors of a small symmetric matrix by Jacobi rotations in a fixed order: G = U
/// diag(values) U^T, values descending. It is not a library's: such a library is larger than this one, and would choose
/// its own order of operations.
/// </summary>
internal static class SymmetricEigen
{
    /// <summary>
    /// The share of the largest eigenvalue of a float64 Gram matrix below which an eigenvalue is rounding error:
    /// derived from float64's 2^-53, with room.
    /// </summary>
    public const double ZeroShare = 1e-13;

    // the largest number of sweeps: chosen; measured, matrices of order 512 take about ten
    private const int MaximumSweeps = 60;

    // the smallest off-diagonal entry that is rotated, as a share of the geometric mean of the two diagonal entries:
    // derived from float64, a smaller rotation changes no digit of them
    private const double NegligibleShare = 1e-16;

    // the same as a share of the largest entry: derived, a smaller entry is rounding error of the matrix itself
    private const double NoiseShare = 1e-18;

    // float64 values of a cache line of 64 bytes
    private const int DoublesOfLine = 8;

    /// <summary>Decomposes a matrix. The time grows with n^3.</summary>
    /// <param name="g">The matrix, n x n, row-major.</param>
    /// <param name="n">Its order.</param>
    /// <param name="cancellationToken">Ends the computation between rows.</param>
    /// <returns>
    /// The values, and the vectors as rows of a row-major matrix; each vector's entry of largest magnitude is positive.
    /// </returns>
    public static (double[] Values, double[] Vectors) Decompose(double[] g, int n, CancellationToken cancellationToken = default)
    {
        // an odd number of cache lines: with a power of two, all entries of a column would share one set of the
        // first-level cache
        int stride = DoublesOfLine * (n / DoublesOfLine + 1 | 1);
        double[] rotated = new double[n * stride], rows = new double[n * n];
        double noise = 0;
        for (int i = 0; i < n; i++)
        {
            g.AsSpan(i * n, n).CopyTo(rotated.AsSpan(i * stride));
            rows[i * n + i] = 1;
        }

        foreach (double entry in g)
            noise = Math.Max(noise, NoiseShare * Math.Abs(entry));
        for (int sweep = 0; sweep < MaximumSweeps && Sweep(rotated, stride, rows, n, noise, cancellationToken); sweep++)
        {
        }

        int[] order = [.. Enumerable.Range(0, n).OrderByDescending(i => rotated[i * stride + i])];
        double[] values = [.. order.Select(i => rotated[i * stride + i])], vectors = new double[n * n];
        for (int j = 0; j < n; j++)
        {
            ReadOnlySpan<double> from = rows.AsSpan(order[j] * n, n);
            double largest = 0;
            foreach (double entry in from)
                largest = Math.Abs(entry) > Math.Abs(largest) ? entry : largest;
            for (int i = 0; i < n; i++)
                vectors[j * n + i] = largest < 0 ? -from[i] : from[i];
        }

        return (values, vectors);
    }

    /// <summary>Rotates all pairs of rows once.</summary>
    /// <returns>Whether any pair had to be rotated.</returns>
    private static bool Sweep(double[] g, int stride, double[] u, int n, double noise, CancellationToken cancellationToken)
    {
        bool any = false;
        for (int p = 0; p < n; p++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            Span<double> rowP = g.AsSpan(p * stride, n);
            for (int q = p + 1; q < n; q++)
            {
                Span<double> rowQ = g.AsSpan(q * stride, n);
                double off = rowP[q], first = rowP[p], second = rowQ[q];
                double negligible = NegligibleShare * Math.Sqrt(Math.Abs(first)) * Math.Sqrt(Math.Abs(second));
                if (Math.Abs(off) <= noise || Math.Abs(off) <= negligible)
                    continue;
                any = true;
                double theta = (second - first) / (2 * off), t = Math.CopySign(1, theta) / (Math.Abs(theta) + Math.Sqrt(theta * theta + 1));
                double c = 1 / Math.Sqrt(t * t + 1), s = t * c;
                Rotate(rowP, rowQ, c, s);
                Rotate(u.AsSpan(p * n, n), u.AsSpan(q * n, n), c, s);
                (rowP[p], rowQ[q], rowP[q], rowQ[p]) = (first - t * off, second + t * off, 0, 0);
                for (int k = 0, row = 0; k < n; k++, row += stride)
                    (g[row + p], g[row + q]) = (rowP[k], rowQ[k]);
            }
        }

        return any;
    }

    /// <summary>Rotates two rows element by element, so that the bits do not depend on the vectors' width.</summary>
    private static void Rotate(Span<double> x, Span<double> y, double c, double s)
    {
        (var wideC, var wideS) = (new Vector<double>(c), new Vector<double>(s));
        int k = 0;
        for (; k <= x.Length - Vector<double>.Count; k += Vector<double>.Count)
        {
            (var first, var second) = (new Vector<double>(x[k..]), new Vector<double>(y[k..]));
            (wideC * first - wideS * second).CopyTo(x[k..]);
            (wideS * first + wideC * second).CopyTo(y[k..]);
        }

        for (; k < x.Length; k++)
            (x[k], y[k]) = (c * x[k] - s * y[k], s * x[k] + c * y[k]);
    }
}
