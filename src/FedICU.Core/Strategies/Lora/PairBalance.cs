using System.Numerics.Tensors;
using FedICU.Compute;
using FedICU.Memory;
using FedICU.Panels;
using FedICU.Strategies.Abstractions;

namespace FedICU.Strategies.Lora;

/// <summary>Balances the factors of one pair in place.</summary>
/// <remarks>
/// T is computed from the Gram matrices [rank, rank] alone: G_B = U L U^T, (L^1/2 U^T) G_A (L^1/2 U^T)^T = W S^2 W^T, T
/// = U L^-1/2 W S^1/2. Directions u with B u = 0 are not changed: B keeps its zero column and A its row u^T A.
/// Balanced, both would be zero, and training could not change them again.
/// </remarks>
internal sealed unsafe class PairBalance(
    LoraPair pair, TensorPanel a, TensorPanel b, IComputeBackend backend, Scratch scratch, CancellationToken cancellationToken)
{
    /// <summary>
    /// The largest rank that is balanced: chosen, the time grows with its cube and is minutes at this rank.
    /// </summary>
    public const int MaximumRank = 2048;

    private readonly int _rank = (int)pair.Rank;

    /// <summary>Splits a factor into parts whose lengths fit an int, as spans and verbs require.</summary>
    public static IEnumerable<(long Start, int Count)> Split(long length)
    {
        // elements or bytes: chosen, any number that an int holds
        const int MaximumCount = 1 << 28;
        for (long start = 0; start < length; start += MaximumCount)
            yield return (start, (int)Math.Min(MaximumCount, length - start));
    }

    /// <summary>Balances the factors. Factors that cannot be balanced are not changed.</summary>
    /// <returns>The reason why the factors cannot be balanced; null if they were.</returns>
    public string? TryRun()
    {
        // B is transposed, so that its columns are rows
        double* wide = Take(pair.B.ElementCount), transposed = Take(pair.B.ElementCount);
        Mix([b], [1], pair.B.ElementCount, new TensorPanel(wide, DType.F64));
        MatrixTranspose.Run(wide, pair.Outputs, _rank, transposed, cancellationToken);
        TensorPanel[] rowsOfA = GetRows(a, pair.Inputs), rowsOfB = GetRows(new TensorPanel(transposed, DType.F64), pair.Outputs);
        (double[] gramOfB, double[] gramOfA) = (ComputeGram(rowsOfB, pair.Outputs), ComputeGram(rowsOfA, pair.Inputs));
        if (!TensorPrimitives.IsFiniteAll<double>(gramOfB) || !TensorPrimitives.IsFiniteAll<double>(gramOfA))
            return "their inner products are too large for float64";
        (double[] toB, double[] toA) = ComputeBases(gramOfB, gramOfA);
        var balancedA = new TensorPanel(scratch.Take(pair.A.ByteLength), pair.A.DType);
        long tooLarge = MixRows(toA, rowsOfA, balancedA, pair.Inputs);
        MixRows(toB, rowsOfB, new TensorPanel(wide, DType.F64), pair.Outputs);
        MatrixTranspose.Run(wide, _rank, pair.Outputs, transposed, cancellationToken);
        var balancedB = new TensorPanel(scratch.Take(pair.B.ByteLength), pair.B.DType);
        tooLarge += Mix([new TensorPanel(transposed, DType.F64)], [1], pair.B.ElementCount, balancedB);
        if (tooLarge > 0)
            return $"balanced, they would not fit {pair.A.DType.SafetensorsName}";
        Buffer.MemoryCopy(balancedA.Data, a.Data, pair.A.ByteLength, pair.A.ByteLength);
        Buffer.MemoryCopy(balancedB.Data, b.Data, pair.B.ByteLength, pair.B.ByteLength);
        return null;
    }

    private double* Take(long count) => (double*)scratch.Take(count * sizeof(double));

    private TensorPanel[] GetRows(TensorPanel matrix, long length) =>
        [.. Enumerable.Range(0, _rank).Select(i => PairContext.At(matrix, i * length))];

    /// <summary>Computes the rows of mixing * from.</summary>
    /// <returns>The number of results that are not finite.</returns>
    private long MixRows(double[] mixing, TensorPanel[] from, TensorPanel to, long length)
    {
        long nonFinite = 0;
        for (int j = 0; j < _rank; j++)
            nonFinite += Mix(from, mixing.AsSpan(j * _rank, _rank), length, PairContext.At(to, j * length));
        return nonFinite;
    }

    private long Mix(TensorPanel[] from, ReadOnlySpan<double> weights, long length, TensorPanel to)
    {
        long nonFinite = 0;
        var parts = new TensorPanel[from.Length];
        foreach ((long start, int count) in Split(length))
        {
            cancellationToken.ThrowIfCancellationRequested();
            for (int i = 0; i < parts.Length; i++)
                parts[i] = PairContext.At(from[i], start);
            nonFinite += backend.WeightedSum(parts, weights, 1, count, PairContext.At(to, start));
        }

        return nonFinite;
    }

    private double[] ComputeGram(TensorPanel[] rows, long length)
    {
        double* sums = Take(GramPairs.Count(_rank));
        new Span<double>(sums, GramPairs.Count(_rank)).Clear();
        foreach ((long start, int count) in Split(length))
        {
            cancellationToken.ThrowIfCancellationRequested();
            var geometry = new PanelGeometry(1, count, GroupsAreColumns: false);
            backend.AddGram([.. rows.Select(row => PairContext.At(row, start))], geometry, new GroupValues(sums, 1));
        }

        double[] gram = new double[_rank * _rank];
        for (int i = 0; i < gram.Length; i++)
            gram[i] = sums[GramPairs.Index(Math.Min(i / _rank, i % _rank), Math.Max(i / _rank, i % _rank))];
        return gram;
    }

    /// <summary>Computes T^T, whose rows mix B's columns, and T^-1, whose rows mix A's rows.</summary>
    private (double[] ToB, double[] ToA) ComputeBases(double[] gramOfB, double[] gramOfA)
    {
        (double[] eigenvalues, double[] u) = SymmetricEigen.Decompose(gramOfB, _rank, cancellationToken);
        int count = eigenvalues.Count(value => value > SymmetricEigen.ZeroShare * eigenvalues[0]);
        double[] roots = [.. eigenvalues.Take(count).Select(Math.Sqrt)];
        // (L^1/2 U^T) G_A (L^1/2 U^T)^T: one triangle is computed and mirrored
        double[] half = Multiply(u, count, _rank, gramOfA), inner = new double[count * count];
        for (int i = 0; i < count; i++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            for (int j = 0; j <= i; j++)
            {
                double sum = 0;
                for (int k = 0; k < _rank; k++)
                    sum += half[i * _rank + k] * u[j * _rank + k];
                inner[i * count + j] = inner[j * count + i] = roots[i] * sum * roots[j];
            }
        }

        (double[] squares, double[] w) = SymmetricEigen.Decompose(inner, count, cancellationToken);
        double[] forB = new double[count * count], forA = new double[count * count];
        for (int j = 0; j < count; j++)
        {
            // the square root of a singular value; a singular value of 0 does not scale the factors
            double scale = squares[j] > SymmetricEigen.ZeroShare * squares[0] ? Math.Sqrt(Math.Sqrt(squares[j])) : 1;
            for (int k = 0; k < count; k++)
                (forB[j * count + k], forA[j * count + k]) = (w[j * count + k] / roots[k] * scale, w[j * count + k] * roots[k] / scale);
        }

        // the directions u with B u = 0
        double[] unchanged = u[(count * _rank)..];
        return ([.. Multiply(forB, count, count, u), .. unchanged], [.. Multiply(forA, count, count, u), .. unchanged]);
    }

    /// <summary>Computes the product of a matrix [rows, inner] and the first rows of a matrix [.., rank].</summary>
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
}
