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

    private readonly double* _rows;
    private readonly long _length;
    // L of the last pass, whose Q is not formed: rows = L Q. Null if the rows are Q's.
    private readonly SmallMatrix? _last;

    private TallFactorization(double* rows, long length, SmallMatrix? last, SmallMatrix r)
    {
        _rows = rows;
        (_length, _last, R) = (length, last, r);
    }

    /// <summary>R: the number of Q's columns x the number of X's.</summary>
    public SmallMatrix R { get; }

    /// <summary>Factors a matrix.</summary>
    /// <param name="context">Computes verbs and gives memory.</param>
    /// <param name="rows">The columns of X as rows; overwritten.</param>
    /// <param name="count">Their number.</param>
    /// <param name="length">The rows of X.</param>
    /// <param name="restore">Writes the columns of X again.</param>
    public static TallFactorization Run(PairContext context, double* rows, int count, long length, Action restore)
    {
        // columns of an array's length
        long mostColumns = Array.MaxLength / length;
        if (length <= count)
        {
            context.RequireRows(count, mostColumns);
            var own = new SmallMatrix((int)length, count);
            for (int i = 0; i < count; i++)
                new ReadOnlySpan<double>(rows + i * length, (int)length).CopyTo(own.Values.AsSpan(i * (int)length));
            return new TallFactorization(null, length, null, own);
        }

        if (RunCholesky(context, rows, count, length) is { } factors)
            return factors;
        context.RequireRows(count, mostColumns);
        restore();
        return RunHouseholder(rows, count, length);
    }

    /// <summary>Writes products of Q with vectors as rows: count x the rows of X.</summary>
    /// <param name="context">Gives memory.</param>
    /// <param name="count">The number of vectors.</param>
    /// <param name="entryOf">The entry of a vector in one of Q's columns.</param>
    public double* TakeVectors(PairContext context, int count, Func<int, int, double> entryOf)
    {
        var entries = new SmallMatrix(R.Rows, count);
        for (int vector = 0; vector < count; vector++)
        {
            for (int i = R.Rows - 1; i >= 0; i--)
            {
                double value = entryOf(vector, i);
                if (_last is not null)
                {
                    for (int j = i + 1; j < R.Rows; j++)
                        value -= _last[j, i] * entries[j, vector];
                    value /= _last[i, i];
                }

                entries[i, vector] = value;
            }
        }

        double* vectors = context.TakeZeros(count * _length);
        if (_rows is not null)
            RowKernels.AddProduct((vector, i) => entries[i, vector], count, _rows, R.Rows, _length, vectors, context.CancellationToken);
        else // Q is the identity
            entries.Values.CopyTo(new Span<double>(vectors, entries.Values.Length));
        return vectors;
    }

    /// <summary>Factors by Cholesky factors of Gram matrices; null if one does not exist.</summary>
    private static TallFactorization? RunCholesky(PairContext context, double* rows, int count, long length)
    {
        SmallMatrix? r = null;
        // at most three passes: one with a shift, and two
        for (int pass = 0; ; pass++)
        {
            double[] gram = context.ComputeGram(rows, count, length);
            if (!Array.TrueForAll(gram, double.IsFinite))
                throw context.TooLarge();
            bool isLast = pass == 2 || pass == 1 && IsNearIdentity(gram, count);
            SmallMatrix? lower = Factor(gram, count);
            if (pass == 0 && (lower is null || RatioOf(lower) > LargestRatio))
                lower = Factor(Shift(gram, count, length), count);
            if (lower is null || pass > 0 && RatioOf(lower) > LargestRatio)
                return null;
            SmallMatrix upper = lower.Transpose();
            r = r is null ? upper : upper.Times(r);
            if (isLast)
                return new TallFactorization(rows, length, lower, r);
            RowKernels.Solve((i, j) => lower[i, j], rows, count, length, context.CancellationToken);
        }
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

    private static TallFactorization RunHouseholder(double* rows, int count, long length)
    {
        var columns = new Span<double>(rows, checked((int)(count * length)));
        double[] q = columns.ToArray();
        var r = new SmallMatrix(count, count);
        LoraAlgebra.Provider.ThinQRFactor(q, (int)length, count, r.Values, new double[count]);
        q.CopyTo(columns);
        return new TallFactorization(rows, length, null, r);
    }
}
