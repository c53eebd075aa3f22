using System.Numerics;

namespace FedICU.Rounds.Lora;

/// <summary>
/// Eigenvalues and vectors of a small symmetric matrix by Jacobi's rotations in a fixed order: G = U diag(values) U^T, values descending. A
/// library for it would be larger
/// than all of this one, and its order of operations its own.
/// </summary>
internal static class SymmetricEigen
{
    // matrices of order 512 take about ten
    private const int MostSweeps = 60;
    // of the geometric mean of the two diagonal entries: a rotation by less changes no digit of theirs
    private const double Negligible = 1e-16;
    // of the largest entry: what is smaller is rounding of the matrix itself
    private const double Noise = 1e-18;
    private const int LineOfDoubles = 8;

    /// <summary>Decomposes in time of n^3.</summary>
    /// <param name="g">n x n, row-major.</param>
    /// <param name="n">Its order.</param>
    /// <param name="cancellationToken">Stops between rows.</param>
    /// <returns>The values, and the vectors as rows of a row-major matrix; each vector's entry of largest magnitude is positive.</returns>
    public static (double[] Values, double[] Vectors) Decompose(double[] g, int n, CancellationToken cancellationToken = default)
    {
        // an odd number of cache lines: the rows of a column would share one set of the first cache where it is a power of two
        int stride = LineOfDoubles * (n / LineOfDoubles + 1 | 1);
        double[] turned = new double[n * stride], rows = new double[n * n];
        double noise = 0;
        for (int i = 0; i < n; i++)
        {
            g.AsSpan(i * n, n).CopyTo(turned.AsSpan(i * stride));
            rows[i * n + i] = 1;
        }

        foreach (double entry in g)
            noise = Math.Max(noise, Noise * Math.Abs(entry));
        for (int sweep = 0; sweep < MostSweeps && Rotate(turned, stride, rows, n, noise, cancellationToken); sweep++)
        {
        }

        int[] order = [.. Enumerable.Range(0, n).OrderByDescending(i => turned[i * stride + i])];
        double[] values = [.. order.Select(i => turned[i * stride + i])], vectors = new double[n * n];
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

    /// <summary>One sweep over all pairs; whether there was anything to rotate.</summary>
    private static bool Rotate(double[] g, int stride, double[] u, int n, double noise, CancellationToken cancellationToken)
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
                if (Math.Abs(off) <= noise || Math.Abs(off) <= Negligible * Math.Sqrt(Math.Abs(first)) * Math.Sqrt(Math.Abs(second)))
                    continue;
                any = true;
                double theta = (second - first) / (2 * off), t = Math.CopySign(1, theta) / (Math.Abs(theta) + Math.Sqrt(theta * theta + 1));
                double c = 1 / Math.Sqrt(t * t + 1), s = t * c;
                Turn(rowP, rowQ, c, s);
                Turn(u.AsSpan(p * n, n), u.AsSpan(q * n, n), c, s);
                (rowP[p], rowQ[q], rowP[q], rowQ[p]) = (first - t * off, second + t * off, 0, 0);
                for (int k = 0, row = 0; k < n; k++, row += stride)
                    (g[row + p], g[row + q]) = (rowP[k], rowQ[k]);
            }
        }

        return any;
    }

    /// <summary>Elementwise, so that the bits do not depend on how wide the vectors are.</summary>
    private static void Turn(Span<double> x, Span<double> y, double c, double s)
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
