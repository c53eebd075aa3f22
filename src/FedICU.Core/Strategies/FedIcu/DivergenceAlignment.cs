using System.Numerics.Tensors;
using FedICU.Memory;
using FedICU.Strategies.Abstractions;
using FedICU.Text;

namespace FedICU.Strategies.FedIcu;

/// <summary>
/// Computes the divergence weights: from the clients' directions to similarities, the scores s_k, to weights w_k
/// (docs/algorithms.md, FedICU: the server).
/// </summary>
/// <remarks>
/// A span of weights has one entry after the clients' weights: the weight that the update form V_prev + sum_k w_k (V_k
/// - V_prev) leaves to the previous direction. It is 1 - sum_k w_k, or 0 if the weights sum to one by their rule.
/// </remarks>
internal sealed class DivergenceAlignment(FedIcuOptions options, IReadOnlyList<RoundClient> clients)
{
    // The largest magnitude of a cosine that counts as 0. It is the rounding error of such sums, which relu and shares
    // would otherwise weigh (chosen; docs/algorithms.md, FedICU: the server).
    private const double ZeroCosine = 1e-12;

    private readonly double _total = clients.Sum(client => client.MergeWeight);

    private int Count => clients.Count;

    /// <summary>Computes the weights and scores of one tensor.</summary>
    public void WeighTensor(TensorContext tensor, SplitPasses passes, Span<double> weights, Span<double> scores)
    {
        if (options.Scores is not null)
        {
            ScoreByCaller(tensor.Info.Name, weights, scores);
            return;
        }

        using GroupBuffer numbers = tensor.Passes.NewGroups(2, Count + 1);
        Span<double> directionNorms = numbers[0], products = numbers[1];
        for (int k = 0; k < passes.Norms.Inputs; k++)
            directionNorms[k] = Math.Sqrt(GroupNorms.MeasureDirectionSquare(passes.Norms[k]));
        MultiplyDirections(passes, directionNorms, products);
        ScoreBySimilarity(products, directionNorms, weights, scores);
    }

    /// <summary>Computes one set of weights and scores for all tensors that are split.</summary>
    public (double[] Weights, double[] Scores) WeighModel(RoundPlan plan)
    {
        (double[] weights, double[] scores) = (new double[Count + 1], new double[Count]);
        if (options.Scores is not null)
        {
            ScoreByCaller(null, weights, scores);
            return (weights, scores);
        }

        double[] directionNorms = DirectionSquares.GetNorms(plan);
        ScoreBySimilarity(plan[new DirectionProducts(options)], directionNorms, weights, scores);
        return (weights, scores);
    }

    /// <summary>
    /// Computes, for each client k, the inner product of v_k = flatten(V_k) / ||flatten V_k|| with S = sum_j v_j, or
    /// with the previous direction. With S, the mean of all pairwise cosines takes N products instead of N^2.
    /// </summary>
    public void MultiplyDirections(SplitPasses passes, ReadOnlySpan<double> directionNorms, Span<double> products)
    {
        bool toPrevious = options.Similarity == Similarity.PreviousDirection;
        products.Clear();
        if (toPrevious && directionNorms[Count] <= options.Epsilon)
            return;
        using GroupBuffer scales = passes.NewGroups(toPrevious ? Count + 1 : Count, clear: false);
        for (int k = 0; k < scales.Inputs; k++)
        {
            // a zero v_k has cosine 0 with everything
            if (directionNorms[k] <= options.Epsilon)
                scales[k].Clear();
            else
                GroupNorms.TakeReciprocals(passes.Norms[k], directionNorms[k], scales[k]);
        }

        if (!toPrevious)
        {
            passes.Multiply(scales, scales, products[..Count]);
            return;
        }

        using GroupBuffer previous = passes.NewGroups(scales.Inputs, clear: true);
        scales[Count].CopyTo(previous[Count]);
        scales[Count].Clear();
        passes.Multiply(scales, previous, products);
        products[Count] = 0;
    }

    /// <summary>Computes scores from the inner products of directions, and weights from the scores.</summary>
    private void ScoreBySimilarity(
        ReadOnlySpan<double> products, ReadOnlySpan<double> directionNorms, Span<double> weights, Span<double> scores)
    {
        switch (options.Similarity)
        {
            case Similarity.Pairwise when Count == 1:
                scores[0] = 1;
                break;
            case Similarity.Pairwise:
                // the product with S includes <v_k, v_k> = 1, unless v_k is zero
                for (int k = 0; k < Count; k++)
                    scores[k] = (products[k] - (directionNorms[k] <= options.Epsilon ? 0 : 1)) / (Count - 1);
                // two clients share one cosine, which rounding must not make two
                if (Count == 2)
                    scores[0] = scores[1] = (scores[0] + scores[1]) / 2;
                break;
            case Similarity.PairwiseWithSelf:
                for (int k = 0; k < Count; k++)
                    scores[k] = products[k] / Count;
                break;
            case Similarity.MeanDirection:
                // ||S||^2 = sum_k <v_k, S>
                double square = Sum(products[..Count]);
                for (int k = 0; k < Count; k++)
                    scores[k] = square <= ZeroCosine ? 0 : products[k] / Math.Sqrt(square);
                break;
            default:
                products[..Count].CopyTo(scores);
                if (directionNorms[Count] <= options.Epsilon)
                {
                    weights[..Count].Fill(1.0 / Count);
                    Finish(weights, sumToOne: true);
                    return;
                }

                break;
        }

        foreach (ref double score in scores)
            score = Math.Abs(score) <= ZeroCosine ? 0 : score;
        WeighScores(scores, weights);
    }

    /// <summary>Asks the caller for the scores and computes weights from them.</summary>
    private void ScoreByCaller(string? tensor, Span<double> weights, Span<double> scores)
    {
        for (int k = 0; k < Count; k++)
            scores[k] = options.Scores!(clients[k].Id, tensor);
        for (int k = 0; k < Count; k++)
        {
            if (!double.IsFinite(scores[k]))
            {
                string ofTensor = tensor is null ? "" : $" for tensor '{tensor}'";
                throw new RoundRejectedException(
                    RoundFault.Round,
                    $"Client '{clients[k].Id}': its contribution score{ofTensor} is {Numbers.Invariant(scores[k])}; " +
                    "a finite number was expected.",
                    clients[k].Id, tensor);
            }
        }

        WeighScores(scores, weights);
    }

    private void WeighScores(ReadOnlySpan<double> scores, Span<double> weights)
    {
        Span<double> ofClients = weights[..Count];
        if (options.Weights == WeightRule.Softmax)
            Softmax(scores, options.Tau, ofClients);
        else if (options.Weights == WeightRule.Relu)
            Relu(scores, ofClients);
        else
            scores.CopyTo(ofClients);
        Finish(weights, sumToOne: options.Weights != WeightRule.Raw);
    }

    /// <summary>
    /// Computes softmax(s / tau). The largest score is subtracted first, so that no exponential overflows. An infinite
    /// tau gives uniform weights.
    /// </summary>
    private static void Softmax(ReadOnlySpan<double> scores, double tau, Span<double> weights)
    {
        double largest = TensorPrimitives.Max(scores);
        for (int k = 0; k < weights.Length; k++)
            weights[k] = Math.Exp((scores[k] - largest) / tau);
        TensorPrimitives.Divide(weights, Sum(weights), weights);
    }

    /// <summary>Computes max(s, 0) over their sum; uniform weights if no score is positive.</summary>
    private static void Relu(ReadOnlySpan<double> scores, Span<double> weights)
    {
        for (int k = 0; k < weights.Length; k++)
            weights[k] = Math.Max(scores[k], 0);
        double sum = Sum(weights);
        if (sum <= 0)
            weights.Fill(1.0 / weights.Length);
        else
            TensorPrimitives.Divide(weights, sum, weights);
    }

    /// <summary>
    /// Multiplies the weights by the clients' shares if asked for, and sets the previous direction's weight.
    /// </summary>
    private void Finish(Span<double> weights, bool sumToOne)
    {
        Span<double> ofClients = weights[..Count];
        if (options.TimesShare)
        {
            for (int k = 0; k < Count; k++)
                ofClients[k] *= clients[k].MergeWeight / _total;
            double sum = Sum(ofClients);
            for (int k = 0; k < Count && sum == 0; k++)
                ofClients[k] = clients[k].MergeWeight / _total;
            if (sum != 0)
                TensorPrimitives.Divide(ofClients, sum, ofClients);
        }

        weights[Count] = sumToOne || options.TimesShare ? 0 : 1 - Sum(ofClients);
    }

    /// <summary>
    /// Sums values one after the other. A vectorized sum would change bits of the report's numbers and of the
    /// coefficients.
    /// </summary>
    private static double Sum(ReadOnlySpan<double> values)
    {
        double sum = 0;
        foreach (double value in values)
            sum += value;
        return sum;
    }
}
