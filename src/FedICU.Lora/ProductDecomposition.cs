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

    /// <summary>Decomposes sum_k factorOfB(k) factorOfA(k) B_k A_k.</summary>
    /// <param name="context">Reads the factors, computes verbs and gives memory.</param>
    /// <param name="factorOfB">Each client's factor of B.</param>
    /// <param name="factorOfA">Each client's factor of A.</param>
    public static ProductDecomposition Run(PairContext context, Func<int, double> factorOfB, Func<int, double> factorOfA)
    {
        (long outputs, long inputs, int count) = (context.Pair.Outputs, context.Pair.Inputs, context.StackedRank);
        double* b = context.StackB(factorOfB), a = context.StackA(factorOfA);
        (double[] ofB, double[] ofA) = FindBalance(context, b, a, count);
        Scale(context, b, ofB, outputs);
        Scale(context, a, ofA, inputs);
        TallFactorization left = TallFactorization.Run(context, b, count, outputs, () =>
        {
            context.StackB(factorOfB, b);
            Scale(context, b, ofB, outputs);
        });
        TallFactorization right = TallFactorization.Run(context, a, count, inputs, () =>
        {
            context.StackA(factorOfA, a);
            Scale(context, a, ofA, inputs);
        });
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
    public double* TakeLeft(int count) => _left.TakeVectors(_context, count, (vector, i) => _u[i, vector]);

    /// <summary>Writes the right singular vectors as rows: count x in.</summary>
    public double* TakeRight(int count) => _right.TakeVectors(_context, count, (vector, i) => _vt[vector, i]);

    /// <summary>
    /// Finds factors that give b_i and a_i the same norm and leave their product: the digits that the factorizations
    /// keep are relative to the longest vector.
    /// </summary>
    private static (double[] OfB, double[] OfA) FindBalance(PairContext context, double* b, double* a, int count)
    {
        (long outputs, long inputs) = (context.Pair.Outputs, context.Pair.Inputs);
        (double[] factorsOfB, double[] factorsOfA) = (new double[count], new double[count]);
        for (int i = 0; i < count; i++)
        {
            double ofB = context.ComputeGram(b + i * outputs, 1, outputs)[0], ofA = context.ComputeGram(a + i * inputs, 1, inputs)[0];
            if (!double.IsFinite(ofB) || !double.IsFinite(ofA))
                throw context.TooLarge();
            // a vector of zeros makes the term 0, whatever the other is
            if (ofB == 0 || ofA == 0)
                continue;
            // a power of two changes no digit
            factorsOfB[i] = Math.ScaleB(1, (int)Math.Round((Math.Log2(ofA) - Math.Log2(ofB)) / 4));
            factorsOfA[i] = 1 / factorsOfB[i];
        }

        return (factorsOfB, factorsOfA);
    }

    private static void Scale(PairContext context, double* rows, double[] factors, long length)
    {
        for (int i = 0; i < factors.Length; i++)
        {
            if (factors[i] != 1)
                context.Combine([new TensorPanel(rows + i * length, DType.F64)], [factors[i]], length, rows + i * length);
        }
    }
}
