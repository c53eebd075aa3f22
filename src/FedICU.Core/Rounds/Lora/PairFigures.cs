using FedICU.Compute;
using FedICU.Panels;
using FedICU.Strategies.Abstractions;

namespace FedICU.Rounds.Lora;

/// <summary>What the report says about a pair, beside its cross-term.</summary>
internal static unsafe class PairFigures
{
    // the largest sum of the clients' ranks whose figures are computed: the work grows with its cube. Chosen as the
    // cross-term's, a quarter of it.
    private const int MaximumStackedRank = 512;

    /// <summary>Describes a pair after its merge.</summary>
    /// <param name="pair">The pair.</param>
    /// <param name="a">The written A.</param>
    /// <param name="b">The written B.</param>
    /// <param name="statistics">Whether figures that need further passes are computed.</param>
    public static LoraPairReport Describe(PairContext pair, TensorPanel a, TensorPanel b, bool statistics)
    {
        var report = new LoraPairReport(pair.Pair.Module, double.NaN)
        {
            Rank = pair.Written.Rank,
            Scaling = double.IsFinite(pair.Written.Scaling) ? pair.Written.Scaling : null,
            Error = pair.Error?.Error,
            RelativeError = pair.Error?.Relative,
        };
        if (!statistics)
            return report;
        PairError? error = pair.Error ??
            (pair.StackedRank + pair.Written.Rank <= MaximumStackedRank ? MeasureError(pair, a, b) : null);
        return MeasureSpaces(pair, report with { Error = error?.Error, RelativeError = error?.Relative });
    }

    /// <summary>Adds the effective rank of W and the overlaps of the clients' spaces.</summary>
    public static LoraPairReport MeasureSpaces(PairContext pair, LoraPairReport report)
    {
        int count = pair.StackedRank;
        if (count > MaximumStackedRank)
            return report;
        double[] ofA = pair.ComputeGram(pair.StackA(_ => 1), count, pair.Pair.Inputs);
        double[] ofB = pair.ComputeGram(pair.StackB(_ => 1), count, pair.Pair.Outputs);
        int[] owners = [.. Enumerable.Range(0, pair.Clients).SelectMany(k => Enumerable.Repeat(k, (int)pair.Forms[k].Rank))];
        return report with
        {
            EffectiveRank = ComputeEffectiveRank(ofA, ofB, [.. owners.Select(k => pair.Weights[k] * ScalingOf(pair, k))]),
            OverlapOfA = ComputeOverlap(ofA, count, owners, pair.Clients),
            OverlapOfB = ComputeOverlap(ofB, count, owners, pair.Clients),
        };
    }

    /// <summary>Measures norm(W - s B A) and norm(W) through the inner products of all factors.</summary>
    private static PairError MeasureError(PairContext pair, TensorPanel writtenA, TensorPanel writtenB)
    {
        int count = pair.StackedRank, rank = (int)pair.Written.Rank, all = count + rank;
        (long inputs, long outputs) = (pair.Pair.Inputs, pair.Pair.Outputs);
        double* a = pair.Take(all * inputs), b = pair.Take(all * outputs), wide = pair.Take(rank * outputs);
        double[] factors = new double[all];
        for (int k = 0, row = 0; k < pair.Clients; row += (int)pair.Forms[k++].Rank)
        {
            pair.ReadA(k, 1, a + row * inputs);
            pair.ReadColumnsOfB(k, 1, b + row * outputs);
            factors.AsSpan(row, (int)pair.Forms[k].Rank).Fill(pair.Weights[k] * ScalingOf(pair, k));
        }

        factors.AsSpan(count).Fill(double.IsFinite(pair.Written.Scaling) ? -pair.Written.Scaling : -1);
        pair.Combine([writtenA], [1], rank * inputs, a + count * inputs);
        pair.Combine([writtenB], [1], rank * outputs, wide);
        MatrixTranspose.Run(wide, outputs, rank, b + count * outputs, pair.CancellationToken);
        double[] ofA = pair.ComputeGram(a, all, inputs), ofB = pair.ComputeGram(b, all, outputs);
        double norm = 0, error = 0;
        for (int i = 0; i < all; i++)
        {
            for (int j = 0; j < all; j++)
            {
                double term = factors[i] * factors[j] * ofA[i * all + j] * ofB[i * all + j];
                error += term;
                norm += i < count && j < count ? term : 0;
            }
        }

        return new PairError(Math.Sqrt(Math.Max(error, 0)), Math.Sqrt(Math.Max(norm, 0)));
    }

    private static double ScalingOf(PairContext pair, int client) =>
        double.IsFinite(pair.Forms[client].Scaling) ? pair.Forms[client].Scaling : 1;

    /// <summary>Computes exp of the entropy of the singular values of sum_i c_i b_i a_i^T over their sum.</summary>
    private static double? ComputeEffectiveRank(double[] ofA, double[] ofB, double[] factors)
    {
        int order = factors.Length;
        if (!Array.TrueForAll(ofA, double.IsFinite) || !Array.TrueForAll(ofB, double.IsFinite))
            return null;
        double[] scaled = [.. ofB.Select((value, i) => value * factors[i / order] * factors[i % order])];
        (double[] values, double[] vectors) = SymmetricEigen.Decompose(scaled, order);
        int live = values.Count(value => value > SymmetricEigen.ZeroShare * values[0]);
        if (live == 0)
            return 0;
        // L^1/2 U^T G_A U L^1/2
        double[] half = new double[live * order], inner = new double[live * live];
        for (int i = 0; i < live; i++)
        {
            for (int j = 0; j < order; j++)
            {
                double sum = 0;
                for (int k = 0; k < order; k++)
                    sum += vectors[i * order + k] * ofA[k * order + j];
                half[i * order + j] = sum * Math.Sqrt(values[i]);
            }
        }

        for (int i = 0; i < live; i++)
        {
            for (int j = 0; j <= i; j++)
            {
                double sum = 0;
                for (int k = 0; k < order; k++)
                    sum += half[i * order + k] * vectors[j * order + k];
                inner[i * live + j] = inner[j * live + i] = sum * Math.Sqrt(values[j]);
            }
        }

        (double[] squares, _) = SymmetricEigen.Decompose(inner, live);
        double[] singular = [.. squares.Where(square => square > SymmetricEigen.ZeroShare * squares[0]).Select(Math.Sqrt)];
        double total = singular.Sum();
        return total > 0 ? Math.Exp(-singular.Sum(value => value / total * Math.Log(value / total))) : 0;
    }

    /// <summary>Computes the mean of ||Q_j^T Q_k||^2 / min(r_j, r_k) over the pairs of clients.</summary>
    private static double? ComputeOverlap(double[] gram, int order, int[] owners, int clients)
    {
        if (clients < 2 || !Array.TrueForAll(gram, double.IsFinite))
            return null;
        double sum = 0;
        var bases = new (int First, int Count, double[] Basis, int Rank)[clients];
        for (int k = 0; k < clients; k++)
            bases[k] = FindBasis(gram, order, Array.IndexOf(owners, k), owners.Count(owner => owner == k));
        for (int j = 0; j < clients; j++)
        {
            for (int k = 0; k < j; k++)
            {
                int least = Math.Min(bases[j].Rank, bases[k].Rank);
                sum += least == 0 ? 0 : Project(gram, order, bases[j], bases[k]) / least;
            }
        }

        return sum / (clients * (clients - 1) / 2);
    }

    /// <summary>Finds the combinations of a client's vectors that are orthonormal: rows of U L^-1/2.</summary>
    private static (int First, int Count, double[] Basis, int Rank) FindBasis(double[] gram, int order, int first, int count)
    {
        double[] own = new double[count * count];
        for (int i = 0; i < count; i++)
            Array.Copy(gram, (first + i) * order + first, own, i * count, count);
        (double[] values, double[] vectors) = SymmetricEigen.Decompose(own, count);
        int rank = values.Count(value => value > SymmetricEigen.ZeroShare * values[0]);
        for (int i = 0; i < rank; i++)
        {
            for (int j = 0; j < count; j++)
                vectors[i * count + j] /= Math.Sqrt(values[i]);
        }

        return (first, count, vectors, rank);
    }

    private static double Project(
        double[] gram, int order, (int First, int Count, double[] Basis, int Rank) one,
        (int First, int Count, double[] Basis, int Rank) other)
    {
        double sum = 0;
        double[] row = new double[other.Count];
        for (int i = 0; i < one.Rank; i++)
        {
            for (int q = 0; q < other.Count; q++)
            {
                row[q] = 0;
                for (int p = 0; p < one.Count; p++)
                    row[q] += one.Basis[i * one.Count + p] * gram[(one.First + p) * order + other.First + q];
            }

            for (int j = 0; j < other.Rank; j++)
            {
                double entry = 0;
                for (int q = 0; q < other.Count; q++)
                    entry += row[q] * other.Basis[j * other.Count + q];
                sum += entry * entry;
            }
        }

        return sum;
    }
}
