using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace FederatedLanguages;

/// <summary>
/// A row-major matrix of floats. Its arithmetic uses eight fixed lanes and fused multiply-adds. Results therefore have
/// the same bits in every run, at any alignment in memory and on any number of threads.
/// </summary>
internal sealed class Matrix
{
    // floats of a 256-bit vector
    private const int Lanes = 8;

    public Matrix(int rows, int columns)
    {
        // the kernel below handles no remainders: every size in this sample is a multiple of eight
        if (rows % Lanes != 0 || columns % Lanes != 0)
            throw new ArgumentException($"The matrix is {rows} x {columns}; multiples of {Lanes} were expected.", nameof(rows));
        (Rows, Columns, Data) = (rows, columns, new float[rows * columns]);
    }

    public int Rows { get; }

    public int Columns { get; }

    public float[] Data { get; }

    public Span<float> this[int row] => Data.AsSpan(row * Columns, Columns);

    /// <summary>Creates a matrix of values drawn uniformly from [-bound, bound].</summary>
    public static Matrix Random(int rows, int columns, double bound, Random random)
    {
        var matrix = new Matrix(rows, columns);
        foreach (ref float value in matrix.Data.AsSpan())
            value = (float)(bound * (random.NextDouble() * 2 - 1));
        return matrix;
    }

    public Matrix Copy()
    {
        var copy = new Matrix(Rows, Columns);
        Data.CopyTo(copy.Data, 0);
        return copy;
    }

    /// <summary>Writes the transpose into a matrix of that shape.</summary>
    public Matrix TransposeInto(Matrix transposed)
    {
        for (int i = 0; i < Rows; i++)
        {
            for (int j = 0; j < Columns; j++)
                transposed.Data[j * Rows + i] = Data[i * Columns + j];
        }

        return transposed;
    }

    public Matrix Transposed() => TransposeInto(new Matrix(Columns, Rows));

    /// <summary>Computes scale A B or scale A^T B, and writes it to the result or adds it to the result.</summary>
    public static void Multiply(Matrix a, Matrix b, Matrix result, bool transposeA = false, bool add = false, float scale = 1)
    {
        (int rows, int inner) = transposeA ? (a.Columns, a.Rows) : (a.Rows, a.Columns);
        if (inner != b.Rows || rows != result.Rows || b.Columns != result.Columns)
        {
            throw new ArgumentException(
                $"{rows} x {inner} times {b.Rows} x {b.Columns} does not give {result.Rows} x {result.Columns}.", nameof(result));
        }

        (int rowStride, int innerStride) = transposeA ? (1, a.Columns) : (a.Columns, 1);
        // eight columns of B are packed once and then used for all rows of A, so that they stay in the first-level
        // cache
        Span<float> panel = stackalloc float[inner * Lanes];
        for (int column = 0; column < b.Columns; column += Lanes)
        {
            for (int k = 0; k < inner; k++)
                b.Data.AsSpan(k * b.Columns + column, Lanes).CopyTo(panel[(k * Lanes)..]);
            for (int row = 0; row < rows; row += Lanes)
            {
                MultiplyTile(
                    ref a.Data[row * rowStride], rowStride, innerStride, ref panel[0], inner,
                    ref result.Data[row * result.Columns + column], result.Columns, add, scale);
            }
        }
    }

    /// <summary>
    /// Computes eight rows by eight columns of the result. The sums stay in registers and run in order.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void MultiplyTile(
        ref float a, nint rowStride, nint innerStride, ref float panel, nint inner,
        ref float result, nint resultStride, bool add, float scale)
    {
        Vector256<float> s0 = default, s1 = default, s2 = default, s3 = default, s4 = default, s5 = default, s6 = default, s7 = default;
        ref float a4 = ref Unsafe.Add(ref a, 4 * rowStride);
        for (nint k = 0; k < inner; k++)
        {
            var b = Vector256.LoadUnsafe(ref panel);
            s0 = Vector256.FusedMultiplyAdd(Vector256.Create(a), b, s0);
            s1 = Vector256.FusedMultiplyAdd(Vector256.Create(Unsafe.Add(ref a, rowStride)), b, s1);
            s2 = Vector256.FusedMultiplyAdd(Vector256.Create(Unsafe.Add(ref a, 2 * rowStride)), b, s2);
            s3 = Vector256.FusedMultiplyAdd(Vector256.Create(Unsafe.Add(ref a, 3 * rowStride)), b, s3);
            s4 = Vector256.FusedMultiplyAdd(Vector256.Create(a4), b, s4);
            s5 = Vector256.FusedMultiplyAdd(Vector256.Create(Unsafe.Add(ref a4, rowStride)), b, s5);
            s6 = Vector256.FusedMultiplyAdd(Vector256.Create(Unsafe.Add(ref a4, 2 * rowStride)), b, s6);
            s7 = Vector256.FusedMultiplyAdd(Vector256.Create(Unsafe.Add(ref a4, 3 * rowStride)), b, s7);
            a = ref Unsafe.Add(ref a, innerStride);
            a4 = ref Unsafe.Add(ref a4, innerStride);
            panel = ref Unsafe.Add(ref panel, Lanes);
        }

        Store(s0, ref result, add, scale);
        Store(s1, ref Unsafe.Add(ref result, resultStride), add, scale);
        Store(s2, ref Unsafe.Add(ref result, 2 * resultStride), add, scale);
        Store(s3, ref Unsafe.Add(ref result, 3 * resultStride), add, scale);
        Store(s4, ref Unsafe.Add(ref result, 4 * resultStride), add, scale);
        Store(s5, ref Unsafe.Add(ref result, 5 * resultStride), add, scale);
        Store(s6, ref Unsafe.Add(ref result, 6 * resultStride), add, scale);
        Store(s7, ref Unsafe.Add(ref result, 7 * resultStride), add, scale);
    }

    private static void Store(Vector256<float> sum, ref float result, bool add, float scale)
    {
        sum *= scale;
        (add ? Vector256.LoadUnsafe(ref result) + sum : sum).StoreUnsafe(ref result);
    }

    /// <summary>Replaces a row of logits by probabilities and returns the loss of the target, in nats.</summary>
    public static double SoftMax(Span<float> row, int target)
    {
        ref float first = ref row[0];
        var maxima = Vector256.LoadUnsafe(ref first);
        for (int i = Lanes; i < row.Length; i += Lanes)
            maxima = Vector256.Max(maxima, Vector256.LoadUnsafe(ref first, (nuint)i));
        float max = maxima[0];
        for (int lane = 1; lane < Lanes; lane++)
            max = Math.Max(max, maxima[lane]);

        double logit = row[target] - max;
        Vector256<float> sums = default;
        for (int i = 0; i < row.Length; i += Lanes)
        {
            Vector256<float> exp = Vector256.Exp(Vector256.LoadUnsafe(ref first, (nuint)i) - Vector256.Create(max));
            sums += exp;
            exp.StoreUnsafe(ref first, (nuint)i);
        }

        float sum = 0;
        for (int lane = 0; lane < Lanes; lane++)
            sum += sums[lane];
        for (int i = 0; i < row.Length; i += Lanes)
            (Vector256.LoadUnsafe(ref first, (nuint)i) / sum).StoreUnsafe(ref first, (nuint)i);
        return Math.Log(sum) - logit;
    }
}
