using System.Numerics.Tensors;
using FedICU.Compute;
using FedICU.Memory;

namespace FedICU.Rounds.Lora;

/// <summary>Balances the factors of one pair in place.</summary>
/// <remarks>
/// T comes from the Gram matrices alone, rank by rank: G_B = U L U^T, (L^1/2 U^T) G_A (L^1/2 U^T)^T = W S^2 W^T, T = U L^-1/2 W S^1/2.
/// Directions u with B u = 0 stay as
/// they are, B's zero and A's u^T A: balanced they would be zero in both factors, and no training could leave that.
/// </remarks>
internal sealed unsafe class PairBalance(
    LoraPair pair, TensorPanel a, TensorPanel b, IComputeBackend backend, Scratch scratch, CancellationToken cancellationToken)
{
    /// <summary>The largest rank that is balanced: the time grows with its cube, here minutes.</summary>
    public const int MostRank = 2048;

    // of Gram matrices in float64, smaller shares of the largest eigenvalue are rounding
    private const double Zero = 1e-14;

    private readonly int _rank = (int)pair.Rank;

    /// <summary>Parts of a factor, each of which a span and a verb can count.</summary>
    public static IEnumerable<(long Start, int Count)> Pieces(long length)
    {
        const int Most = 1 << 28;
        for (long start = 0; start < length; start += Most)
            yield return (start, (int)Math.Min(Most, length - start));
    }

    /// <summary>Balances. Factors that cannot be balanced stay as they are; then the reason is returned, in words, else null.</summary>
    public string? Run()
    {
        // B's columns as rows
        double* wide = Take(pair.B.ElementCount), turned = Take(pair.B.ElementCount);
        Mix([b], [1], pair.B.ElementCount, new TensorPanel(wide, DType.F64));
        Transpose(wide, pair.Outputs, _rank, turned);
        TensorPanel[] rowsOfA = Rows(a, pair.Inputs), rowsOfB = Rows(new TensorPanel(turned, DType.F64), pair.Outputs);
        (double[] gramOfB, double[] gramOfA) = (Gram(rowsOfB, pair.Outputs), Gram(rowsOfA, pair.Inputs));
        if (!TensorPrimitives.IsFiniteAll<double>(gramOfB) || !TensorPrimitives.IsFiniteAll<double>(gramOfA))
            return "their inner products are too large for float64";
        (double[] toB, double[] toA) = Bases(gramOfB, gramOfA);
        var madeA = new TensorPanel(scratch.Take(pair.A.ByteLength), pair.A.DType);
        long tooLarge = MixRows(toA, rowsOfA, madeA, pair.Inputs);
        MixRows(toB, rowsOfB, new TensorPanel(wide, DType.F64), pair.Outputs);
        Transpose(wide, _rank, pair.Outputs, turned);
        var madeB = new TensorPanel(scratch.Take(pair.B.ByteLength), pair.B.DType);
        tooLarge += Mix([new TensorPanel(turned, DType.F64)], [1], pair.B.ElementCount, madeB);
        if (tooLarge > 0)
            return $"balanced, they would not fit {pair.A.DType.SafetensorsName}";
        Buffer.MemoryCopy(madeA.Data, a.Data, pair.A.ByteLength, pair.A.ByteLength);
        Buffer.MemoryCopy(madeB.Data, b.Data, pair.B.ByteLength, pair.B.ByteLength);
        return null;
    }

    private double* Take(long count) => (double*)scratch.Take(count * sizeof(double));

    private TensorPanel[] Rows(TensorPanel matrix, long length) => [.. Enumerable.Range(0, _rank).Select(i => At(matrix, i * length))];

    private static TensorPanel At(TensorPanel panel, long element) =>
        new((byte*)panel.Data + element * (panel.DType.BitSize / 8), panel.DType);

    /// <summary>The rows of a factor mixed into as many others; how many of their values are not finite.</summary>
    private long MixRows(double[] mixing, TensorPanel[] from, TensorPanel to, long length)
    {
        long nonFinite = 0;
        for (int j = 0; j < _rank; j++)
            nonFinite += Mix(from, mixing.AsSpan(j * _rank, _rank), length, At(to, j * length));
        return nonFinite;
    }

    private long Mix(TensorPanel[] from, ReadOnlySpan<double> weights, long length, TensorPanel to)
    {
        long nonFinite = 0;
        var parts = new TensorPanel[from.Length];
        foreach ((long start, int count) in Pieces(length))
        {
            cancellationToken.ThrowIfCancellationRequested();
            for (int i = 0; i < parts.Length; i++)
                parts[i] = At(from[i], start);
            nonFinite += backend.WeightedSum(parts, weights, 1, count, At(to, start));
        }

        return nonFinite;
    }

    private double[] Gram(TensorPanel[] rows, long length)
    {
        double* sums = Take(GramPairs.Count(_rank));
        new Span<double>(sums, GramPairs.Count(_rank)).Clear();
        foreach ((long start, int count) in Pieces(length))
        {
            cancellationToken.ThrowIfCancellationRequested();
            var geometry = new PanelGeometry(1, count, GroupsAreColumns: false);
            backend.AddGram([.. rows.Select(row => At(row, start))], geometry, new GroupValues(sums, 1));
        }

        double[] gram = new double[_rank * _rank];
        for (int i = 0; i < gram.Length; i++)
            gram[i] = sums[GramPairs.Index(Math.Min(i / _rank, i % _rank), Math.Max(i / _rank, i % _rank))];
        return gram;
    }

    /// <summary>T^T, whose rows mix B's columns, and T^-1, whose rows mix A's rows.</summary>
    private (double[] ToB, double[] ToA) Bases(double[] gramOfB, double[] gramOfA)
    {
        (double[] lengths, double[] u) = SymmetricEigen.Decompose(gramOfB, _rank, cancellationToken);
        int own = lengths.Count(length => length > Zero * lengths[0]);
        double[] roots = [.. lengths.Take(own).Select(Math.Sqrt)];
        // (L^1/2 U^T) G_A (L^1/2 U^T)^T, one triangle and its mirror image
        double[] half = Multiply(u, own, _rank, gramOfA), inner = new double[own * own];
        for (int i = 0; i < own; i++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            for (int j = 0; j <= i; j++)
            {
                double sum = 0;
                for (int k = 0; k < _rank; k++)
                    sum += half[i * _rank + k] * u[j * _rank + k];
                inner[i * own + j] = inner[j * own + i] = roots[i] * sum * roots[j];
            }
        }

        (double[] squares, double[] w) = SymmetricEigen.Decompose(inner, own, cancellationToken);
        double[] forB = new double[own * own], forA = new double[own * own];
        for (int j = 0; j < own; j++)
        {
            // the square root of a singular value; a product of nothing keeps its lengths
            double scale = squares[j] > Zero * squares[0] ? Math.Sqrt(Math.Sqrt(squares[j])) : 1;
            for (int k = 0; k < own; k++)
                (forB[j * own + k], forA[j * own + k]) = (w[j * own + k] / roots[k] * scale, w[j * own + k] * roots[k] / scale);
        }

        double[] free = u[(own * _rank)..];
        return ([.. Multiply(forB, own, own, u), .. free], [.. Multiply(forA, own, own, u), .. free]);
    }

    /// <summary>The product of a matrix [rows, inner] and the first rows of another, whose rows have the rank's length.</summary>
    private double[] Multiply(double[] left, int rows, int inner, double[] right)
    {
        double[] product = new double[rows * _rank];
        for (int i = 0; i < rows; i++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            Span<double> row = product.AsSpan(i * _rank, _rank);
            for (int k = 0; k < inner; k++)
                TensorPrimitives.FusedMultiplyAdd(right.AsSpan(k * _rank, _rank), left[i * inner + k], row, row);
        }

        return product;
    }

    private void Transpose(double* from, long rows, long columns, double* to)
    {
        // rows of a piece side by side: a whole column would leave the cache between two of its values
        const int Block = 64;
        for (long first = 0; first < rows; first += Block)
        {
            cancellationToken.ThrowIfCancellationRequested();
            long end = Math.Min(first + Block, rows);
            for (long column = 0; column < columns; column++)
            {
                for (long row = first; row < end; row++)
                    to[column * rows + row] = from[row * columns + column];
            }
        }
    }
}
