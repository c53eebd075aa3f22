namespace FedICU;

/// <summary>
/// Eigenvalues and vectors of a small symmetric matrix by Jacobi's rotations in a fixed order: G = U diag(values) U^T, values descending. A library for it would be larger than all of this one, and its
/// order of operations its own.
/// </summary>
internal static class SymmetricEigen
{
    private const int MostSweeps = 60;

    /// <summary>Decomposes.</summary>
    /// <param name="g">n x n, row-major; is overwritten.</param>
    /// <param name="n">Its order.</param>
    /// <returns>The values, and the vectors as columns of a row-major matrix; each vector's entry of largest magnitude is positive.</returns>
    public static (double[] Values, double[] Vectors) Decompose(double[] g, int n)
    {
        double[] u = new double[n * n];
        for (int i = 0; i < n; i++)
            u[i * n + i] = 1;
        for (int sweep = 0; sweep < MostSweeps && Rotate(g, u, n); sweep++)
        {
        }

        int[] order = [.. Enumerable.Range(0, n).OrderByDescending(i => g[i * n + i])];
        double[] values = [.. order.Select(i => g[i * n + i])], vectors = new double[n * n];
        for (int j = 0; j < n; j++)
        {
            double largest = 0;
            for (int i = 0; i < n; i++)
                largest = Math.Abs(u[i * n + order[j]]) > Math.Abs(largest) ? u[i * n + order[j]] : largest;
            for (int i = 0; i < n; i++)
                vectors[i * n + j] = largest < 0 ? -u[i * n + order[j]] : u[i * n + order[j]];
        }

        return (values, vectors);
    }

    /// <summary>One sweep over all pairs; whether there was anything to rotate.</summary>
    private static bool Rotate(double[] g, double[] u, int n)
    {
        bool any = false;
        for (int p = 0; p < n; p++)
        {
            for (int q = p + 1; q < n; q++)
            {
                double off = g[p * n + q];
                if (Math.Abs(off) <= 1e-17 * Math.Sqrt(Math.Abs(g[p * n + p] * g[q * n + q])) || off == 0)
                    continue;
                any = true;
                double theta = (g[q * n + q] - g[p * n + p]) / (2 * off), t = Math.CopySign(1, theta) / (Math.Abs(theta) + Math.Sqrt(theta * theta + 1));
                double c = 1 / Math.Sqrt(t * t + 1), s = t * c;
                for (int k = 0; k < n; k++)
                    Turn(ref g[k * n + p], ref g[k * n + q]);
                for (int k = 0; k < n; k++)
                    Turn(ref g[p * n + k], ref g[q * n + k]);
                for (int k = 0; k < n; k++)
                    Turn(ref u[k * n + p], ref u[k * n + q]);
                g[p * n + q] = g[q * n + p] = 0;

                void Turn(ref double x, ref double y) => (x, y) = (c * x - s * y, s * x + c * y);
            }
        }

        return any;
    }
}
