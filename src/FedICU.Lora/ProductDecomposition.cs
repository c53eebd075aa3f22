using FedICU.Compute;
using FedICU.Strategies.Abstractions;
using MathNet.Numerics;

namespace FedICU.Lora;

/// <summary>
/// The singular values and vectors of a product W = sum_i b_i a_i^T of stacked factors, without forming it: QR of both
/// sides, and the decomposition of R_B R_A^T.
/// </summary>
internal sealed unsafe class ProductDecomposition
{
    private readonly PairContext _context;
    private readonly TallFactorization _left, _right;
    private readonly SmallMatrix _u, _vt;

    private ProductDecomposition(
        PairContext context, TallFactorization left, TallFactorization right, double[] values, SmallMatrix u, SmallMatrix vt) =>
        (_context, _left, _right, Values, _u, _vt) = (context, left, right, values, u, vt);

    /// <summary>The singular values, descending. All others are 0.</summary>
    public double[] Values { get; }

    /// <summary>Decomposes a product.</summary>
    /// <param name="context">Computes verbs and gives memory.</param>
    /// <param name="b">The vectors b_i as rows of out values; overwritten.</param>
    /// <param name="a">The vectors a_i as rows of in values; overwritten.</param>
    /// <param name="count">Their number.</param>
    public static ProductDecomposition Run(PairContext context, double* b, double* a, int count)
    {
        Balance(context, b, a, count);
        TallFactorization left = TallFactorization.Run(context, b, count, context.Pair.Outputs);
        TallFactorization right = TallFactorization.Run(context, a, count, context.Pair.Inputs);
        SmallMatrix core = left.R.Times(right.R.Transpose());
        if (!Array.TrueForAll(core.Values, double.IsFinite))
            throw context.TooLarge();
        double[] values = new double[Math.Min(core.Rows, core.Columns)];
        var u = new SmallMatrix(core.Rows, core.Rows);
        var vt = new SmallMatrix(core.Columns, core.Columns);
        try
        {
            LoraAlgebra.Provider.SingularValueDecomposition(true, core.Values, core.Rows, core.Columns, values, u.Values, vt.Values);
        }
        catch (NonConvergenceException)
        {
            throw RoundPlan.Refuse(
                $"The singular values of the LoRA pair '{context.Pair.Module}' did not converge; " +
                "finite factors of like sizes were expected.");
        }

        return new ProductDecomposition(context, left, right, values, u, vt);
    }

    /// <summary>Writes the left singular vectors as rows: count x out.</summary>
    public double* TakeLeft(int count) => Expand(_left, _context.Pair.Outputs, count, (vector, i) => _u[i, vector]);

    /// <summary>Writes the right singular vectors as rows: count x in.</summary>
    public double* TakeRight(int count) => Expand(_right, _context.Pair.Inputs, count, (vector, i) => _vt[vector, i]);

    /// <summary>
    /// Scales b_i and a_i to the same norm, which leaves their product: the digits that the factorizations keep are
    /// relative to the longest vector.
    /// </summary>
    private static void Balance(PairContext context, double* b, double* a, int count)
    {
        (long outputs, long inputs) = (context.Pair.Outputs, context.Pair.Inputs);
        for (int i = 0; i < count; i++)
        {
            double ofB = context.ComputeGram(b + i * outputs, 1, outputs)[0], ofA = context.ComputeGram(a + i * inputs, 1, inputs)[0];
            if (!double.IsFinite(ofB) || !double.IsFinite(ofA))
                throw context.TooLarge();
            // a vector of zeros makes the term 0, whatever the other is
            if (ofB == 0 || ofA == 0)
            {
                Scale(context, b + i * outputs, 0, outputs);
                Scale(context, a + i * inputs, 0, inputs);
                continue;
            }

            // a power of two changes no digit
            double factor = Math.ScaleB(1, (int)Math.Round((Math.Log2(ofA) - Math.Log2(ofB)) / 4));
            if (factor == 1)
                continue;
            Scale(context, b + i * outputs, factor, outputs);
            Scale(context, a + i * inputs, 1 / factor, inputs);
        }
    }

    private static void Scale(PairContext context, double* row, double factor, long length) =>
        context.Combine([new TensorPanel(row, DType.F64)], [factor], length, row);

    private double* Expand(TallFactorization side, long length, int count, Func<int, int, double> entryOf)
    {
        double* vectors = _context.TakeZeros(count * length);
        if (side.RowsOfQ is not null)
        {
            RowKernels.AddProduct(entryOf, count, side.RowsOfQ, side.R.Rows, length, vectors, _context.CancellationToken);
            return vectors;
        }

        // Q is the identity
        for (int vector = 0; vector < count; vector++)
        {
            for (int i = 0; i < side.R.Rows; i++)
                vectors[vector * length + i] = entryOf(vector, i);
        }

        return vectors;
    }
}
