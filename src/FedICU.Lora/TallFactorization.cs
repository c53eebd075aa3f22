using FedICU.Compute;
using FedICU.Strategies.Abstractions;

namespace FedICU.Lora;

/// <summary>
/// Factors a tall matrix X = Q R, given by its columns as rows: Q has orthonormal columns, R is small. The Gram
/// matrices of the tall side are computed by the backend's verbs, their Cholesky factors by MathNet.
/// </summary>
/// <remarks>
/// <para>CholeskyQR done twice where the first factor is well conditioned; with a shift and three times otherwise
/// (Fukaya et al. 2020). Both keep the digits of Householder's reflections, which are used where a Cholesky factor does
/// not exist: where columns depend on each other up to rounding.</para>
/// <para>A matrix with no more rows than columns is its own R: Q is the identity.</para>
/// </remarks>
internal sealed unsafe class TallFactorization
{
    // the largest ratio of the diagonal of a Cholesky factor for which no shift is needed. Derived: CholeskyQR2 holds
    // up to a condition of 1e8, which the ratio may underestimate by the order of the matrix.
    private const double LargestRatio = 1e6;

    // the largest entry of Q^T Q - I after one pass for which the second pass is the last. Derived: the second pass
    // then leaves rounding errors only.
    private const double NearIdentity = 1e-3;

    private TallFactorization(double* rowsOfQ, SmallMatrix r)
    {
        RowsOfQ = rowsOfQ;
        R = r;
    }

    /// <summary>The columns of Q as rows; null if Q is the identity.</summary>
    public double* RowsOfQ { get; }

    /// <summary>R: the number of Q's columns x the number of X's.</summary>
    public SmallMatrix R { get; }

    /// <summary>Factors a matrix.</summary>
    /// <param name="context">Computes verbs and gives memory.</param>
    /// <param name="rows">The columns of X as rows; overwritten by those of Q.</param>
    /// <param name="count">Their number.</param>
    /// <param name="length">The rows of X.</param>
    public static TallFactorization Run(PairContext context, double* rows, int count, long length)
    {
        if (length <= count)
        {
            var own = new SmallMatrix((int)length, count);
            for (int i = 0; i < count; i++)
                new ReadOnlySpan<double>(rows + i * length, (int)length).CopyTo(own.Values.AsSpan(i * (int)length));
            return new TallFactorization(null, own);
        }

        double* before = context.Take(count * length);
        Buffer.MemoryCopy(rows, before, count * length * sizeof(double), count * length * sizeof(double));
        if (RunCholesky(context, rows, count, length) is { } r)
            return new TallFactorization(rows, r);
        return RunHouseholder(before, rows, count, length);
    }

    /// <summary>Factors by Cholesky factors of Gram matrices; null if one does not exist.</summary>
    private static SmallMatrix? RunCholesky(PairContext context, double* rows, int count, long length)
    {
        SmallMatrix? r = null;
        bool isLast = false;
        // at most three passes: one with a shift, and two
        for (int pass = 0; pass < 3 && !isLast; pass++)
        {
            double[] gram = context.ComputeGram(rows, count, length);
            if (!Array.TrueForAll(gram, double.IsFinite))
                throw context.TooLarge();
            isLast = pass == 2 || pass == 1 && IsNearIdentity(gram, count);
            SmallMatrix? lower = Factor(gram, count);
            if (pass == 0 && (lower is null || RatioOf(lower) > LargestRatio))
                lower = Factor(Shift(gram, count, length), count);
            if (lower is null || pass > 0 && RatioOf(lower) > LargestRatio)
                return null;
            RowKernels.Solve((i, j) => lower[i, j], rows, count, length, context.CancellationToken);
            SmallMatrix upper = lower.Transpose();
            r = r is null ? upper : upper.Times(r);
        }

        return r;
    }

    /// <summary>Computes the lower Cholesky factor; null if the matrix is not positive definite.</summary>
    private static SmallMatrix? Factor(double[] gram, int order)
    {
        var lower = new SmallMatrix(order, order) { Values = (double[])gram.Clone() };
        try
        {
            LoraAlgebra.Provider.CholeskyFactor(lower.Values, order);
        }
        catch (ArgumentException)
        {
            return null;
        }

        for (int i = 0; i < order; i++)
        {
            if (!(lower[i, i] > 0))
                return null;
            for (int j = i + 1; j < order; j++)
                lower[i, j] = 0;
        }

        return lower;
    }

    private static double[] Shift(double[] gram, int order, long length)
    {
        // Fukaya et al. 2020: 11 (m n + n (n + 1)) u norm(X)^2, where the trace bounds the squared norm
        const double UnitRoundoff = 1.0 / (1L << 53);
        double trace = 0;
        for (int i = 0; i < order; i++)
            trace += gram[i * order + i];
        double shift = 11 * ((double)length * order + order * (order + 1.0)) * UnitRoundoff * trace;
        double[] shifted = (double[])gram.Clone();
        for (int i = 0; i < order; i++)
            shifted[i * order + i] += shift;
        return shifted;
    }

    private static double RatioOf(SmallMatrix lower)
    {
        double smallest = double.PositiveInfinity, largest = 0;
        for (int i = 0; i < lower.Rows; i++)
            (smallest, largest) = (Math.Min(smallest, lower[i, i]), Math.Max(largest, lower[i, i]));
        return largest / smallest;
    }

    private static bool IsNearIdentity(double[] gram, int order)
    {
        for (int i = 0; i < gram.Length; i++)
        {
            if (!(Math.Abs(gram[i] - (i / order == i % order ? 1 : 0)) <= NearIdentity))
                return false;
        }

        return true;
    }

    private static TallFactorization RunHouseholder(double* before, double* rows, int count, long length)
    {
        double[] q = new ReadOnlySpan<double>(before, checked((int)(count * length))).ToArray();
        var r = new SmallMatrix(count, count);
        LoraAlgebra.Provider.ThinQRFactor(q, (int)length, count, r.Values, new double[count]);
        q.CopyTo(new Span<double>(rows, q.Length));
        return new TallFactorization(rows, r);
    }
}
