using FedICU.Compute;
using FedICU.Memory;
using FedICU.Panels;

namespace FedICU.Strategies.FedIcu;

/// <summary>
/// One pass for the inner products of all pairs of inputs, from which all other numbers follow. The work grows with the
/// square of the number of clients.
/// </summary>
internal sealed class GramPass : SplitPasses
{
    // The smallest share of the largest possible square for which the quadratic form keeps enough digits
    // (docs/adr/0008).
    private const double LeastShare = 1e-6;

    private readonly GroupBuffer _grams;

    private GramPass(SplitInputs inputs, GroupBuffer norms, bool ownsNorms, GroupBuffer grams) : base(inputs, norms, ownsNorms) =>
        _grams = grams;

    /// <summary>Takes the norms from the inner products, none of which may have overflowed.</summary>
    /// <param name="inputs">The inputs.</param>
    /// <param name="grams">The inner products of all pairs; disposed with the result.</param>
    /// <param name="known">The norms if they were measured before; otherwise null.</param>
    /// <param name="ownsKnown">Whether the known norms are disposed with the result.</param>
    public static GramPass Open(SplitInputs inputs, GroupBuffer grams, GroupBuffer? known, bool ownsKnown)
    {
        if (known is not null)
            return new GramPass(inputs, known, ownsKnown, grams);
        GroupBuffer norms = inputs.Tensor.Passes.NewGroups(inputs.Directed.Length, grams.Groups, clear: false);
        for (int k = 0; k < norms.Inputs; k++)
            grams[GramPairs.Index(k, k)].CopyTo(norms[k]);
        // the root of a square that did not overflow is never too large for later steps
        inputs.TakeRoots(norms, first: 0);
        return new GramPass(inputs, norms, ownsNorms: true, grams);
    }

    /// <summary>Returns whether a square overflowed float64; if none did, no inner product did.</summary>
    public static bool HasOverflowed(GroupBuffer grams, int inputs)
    {
        for (int k = 0; k < inputs; k++)
        {
            if (grams[GramPairs.Index(k, k)].Contains(double.PositiveInfinity))
                return true;
        }

        return false;
    }

    public override void Multiply(GroupBuffer a, GroupBuffer b, Span<double> products)
    {
        products.Clear();
        for (int k = 0; k < a.Inputs; k++)
        {
            for (int j = 0; j < b.Inputs; j++)
            {
                ReadOnlySpan<double> ak = a[k], bj = b[j], gram = Pair(j, k);
                double sum = 0;
                for (int c = 0; c < gram.Length; c++)
                    sum = Math.FusedMultiplyAdd(ak[c] * gram[c], bj[c], sum);
                products[k] += sum;
            }
        }
    }

    public override GroupBuffer MeasureCombination(
        PanelReader[] combined, GroupBuffer directions, ReadOnlySpan<double> weights, out Unrounded? unrounded)
    {
        unrounded = null;
        GroupBuffer squares = NewGroups(1, clear: true);
        for (int k = 0; k < combined.Length; k++)
        {
            for (int j = 0; j <= k; j++)
                AddQuadratic(directions[j], directions[k], Pair(j, k), j == k ? 1 : 2, squares[0]);
        }

        GroupBuffer? direct = null;
        for (int c = 0; c < squares.Groups; c++)
        {
            if (!HasLostDigits(squares[0][c], c, combined.Length, weights))
                continue;
            direct ??= Inputs.Tensor.Passes.CombinationSquares(combined, Inputs.Grouping, directions, null);
            squares[0][c] = direct[0][c];
        }

        direct?.Dispose();
        return squares;
    }

    public override void Dispose()
    {
        base.Dispose();
        _grams.Dispose();
    }

    private Span<double> Pair(int j, int k) => _grams[GramPairs.Index(Math.Min(j, k), Math.Max(j, k))];

    private static void AddQuadratic(
        ReadOnlySpan<double> a, ReadOnlySpan<double> b, ReadOnlySpan<double> gram, double times, Span<double> sums)
    {
        for (int c = 0; c < sums.Length; c++)
            sums[c] = Math.FusedMultiplyAdd(times * a[c] * b[c], gram[c], sums[c]);
    }

    /// <summary>
    /// Returns whether directions cancel so far that their square must be measured from the combination itself.
    /// </summary>
    private bool HasLostDigits(double square, int column, int combined, ReadOnlySpan<double> weights)
    {
        double sum = 0;
        for (int k = 0; k < combined; k++)
            sum += Norms[k][column] > 0 ? Math.Abs(weights[k]) : 0;
        return square < LeastShare * sum * sum;
    }
}
