namespace FedICU;

/// <summary>
/// Eigenvalues and vectors of a small symmetric matrix by Jacobi's rotations in a fixed order: G = U diag(values) U^T, values descending. A library for it would be larger
/// than all of this one, and its order of operations its own.
/// </summary>
internal static class SymmetricEigen
{
    // matrices of order 512 take about ten
    private const int MostSweeps = 60;
    // of the geometric mean of the two diagonal entries: a rotation by less changes no digit of theirs
    private const double Negligible = 1e-17;

    /// <summary>Decomposes in time of n^3.</summary>
    /// <param name="g">n x n, row-major; is overwritten.</param>
    /// <param name="n">Its order.</param>
    /// <param name="cancellationToken">Stops between rows.</param>
    /// <returns>The values, and the vectors as rows of a row-major matrix; each vector's entry of largest magnitude is positive.</returns>
    public static (double[] Values, double[] Vectors) Decompose(double[] g, int n, CancellationToken cancellationToken = default)
    {
        double[] rows = new double[n * n];
        for (int i = 0; i < n; i++)
            rows[i * n + i] = 1;
        for (int sweep = 0; sweep < MostSweeps && Rotate(g, rows, n, cancellationToken); sweep++)
        {
        }

        int[] order = [.. Enumerable.Range(0, n).OrderByDescending(i => g[i * n + i])];
        double[] values = [.. order.Select(i => g[i * n + i])], vectors = new double[n * n];
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
    private static bool Rotate(double[] g, double[] u, int n, CancellationToken cancellationToken)
    {
        bool any = false;
        for (int p = 0; p < n; p++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            for (int q = p + 1; q < n; q++)
            {
                double off = g[p * n + q], first = g[p * n + p], second = g[q * n + q];
                if (Math.Abs(off) <= Negligible * Math.Sqrt(Math.Abs(first * second)) || off == 0)
                    continue;
                any = true;
                double theta = (second - first) / (2 * off), t = Math.CopySign(1, theta) / (Math.Abs(theta) + Math.Sqrt(theta * theta + 1));
                double c = 1 / Math.Sqrt(t * t + 1), s = t * c;
                Turn(g.AsSpan(p * n, n), g.AsSpan(q * n, n), c, s);
                Turn(u.AsSpan(p * n, n), u.AsSpan(q * n, n), c, s);
                (g[p * n + p], g[q * n + q], g[p * n + q], g[q * n + p]) = (first - t * off, second + t * off, 0, 0);
                for (int k = 0; k < n; k++)
                    (g[k * n + p], g[k * n + q]) = (g[p * n + k], g[q * n + k]);
            }
        }

        return any;
    }

    private static void Turn(Span<double> x, Span<double> y, double c, double s)
    {
        for (int k = 0; k < x.Length; k++)
            (x[k], y[k]) = (c * x[k] - s * y[k], s * x[k] + c * y[k]);
    }
}
