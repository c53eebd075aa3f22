using FedICU.Strategies.Abstractions;

namespace FedICU.Strategies.Lora;

/// <summary>
/// The squared norm of each client's products s_k B_k A_k, over all LoRA pairs: trace((B^T B)(A A^T)).
/// </summary>
internal sealed class ProductNorms : PairStatistic
{
    public static ProductNorms Instance { get; } = new();

    public override string Name => "product-norms";

    public override int Count(int clients) => clients;

    public override unsafe void Measure(PairContext pair, Span<double> sums) =>
        AddSquares(pair, pair.StackA(_ => 1), pair.StackB(_ => 1), sums);

    /// <summary>Adds the squared norms of a pair.</summary>
    /// <param name="pair">The pair.</param>
    /// <param name="a">The clients' rows of A.</param>
    /// <param name="b">The clients' columns of B, as rows.</param>
    /// <param name="sums">One sum for each client.</param>
    public static unsafe void AddSquares(PairContext pair, double* a, double* b, Span<double> sums)
    {
        for (int k = 0, row = 0; k < pair.Clients; row += (int)pair.Forms[k++].Rank)
        {
            int rank = (int)pair.Forms[k].Rank;
            double[] ofA = pair.ComputeGram(a + row * pair.Pair.Inputs, rank, pair.Pair.Inputs);
            double[] ofB = pair.ComputeGram(b + row * pair.Pair.Outputs, rank, pair.Pair.Outputs);
            double sum = 0;
            for (int i = 0; i < ofA.Length; i++)
                sum = Math.FusedMultiplyAdd(ofA[i], ofB[i], sum);
            // rounding may leave a negative number of a product that is 0
            sums[k] += Math.Max(sum, 0) * pair.Forms[k].Scaling * pair.Forms[k].Scaling;
        }
    }
}
