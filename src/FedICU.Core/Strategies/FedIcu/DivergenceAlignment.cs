using System.Numerics.Tensors;
using FedICU.Memory;
using FedICU.Strategies.Abstractions;
using FedICU.Text;

namespace FedICU.Strategies.FedIcu;

/// <summary>
/// From directions to similarities, the scores s_k, to divergence weights w_k (docs/algorithms.md, FedICU: the server). After the clients' weights stands what the
/// update form V_prev + sum w_k (V_k - V_prev) leaves to the previous direction: 1 - sum w_k, or 0 where the weights sum to one by their rule.
/// </summary>
internal sealed class DivergenceAlignment(FedIcuOptions options, IReadOnlyList<RoundClient> clients)
{
    // sums of products of unit vectors are known to this: what is smaller is zero, or relu and shares would weigh its rounding
    private const double Rounding = 1e-12;

    private int Count => clients.Count;

    /// <summary>The weights of one tensor, and what is left, and the scores.</summary>
    public void OfTensor(TensorContext tensor, SplitLook look, Span<double> weights, Span<double> scores)
    {
        if (options.Scores is not null)
        {
            FromCaller(tensor.Info.Name, weights, scores);
            return;
        }

        using GroupBuffer numbers = tensor.NewGroups(2, Count + 1);
        Span<double> directionNorms = numbers[0], products = numbers[1];
        for (int k = 0; k < look.Norms.Inputs; k++)
            directionNorms[k] = Math.Sqrt(GroupNorms.SquareOfDirection(look.Norms[k]));
        Multiply(look, directionNorms, products);
        FromSimilarities(products, directionNorms, weights, scores);
    }

    /// <summary>One set of weights and scores for all tensors that are split.</summary>
    public (double[] Weights, double[] Scores) OfModel(ModelContext model)
    {
        (double[] weights, double[] scores) = (new double[Count + 1], new double[Count]);
        if (options.Scores is not null)
        {
            FromCaller(null, weights, scores);
            return (weights, scores);
        }

        // ||flatten V_k|| over the model must be known before any product: a first look counts, a second multiplies
        TensorInfo[] split = [.. model.Tensors.Where(ConsensusDivergenceSplit.IsSplit)];
        model.BeginLooks(2 * split.Sum(tensor => tensor.ByteLength));
        double[] squares = SumOver(model, split, (look, part) =>
        {
            for (int k = 0; k < look.Norms.Inputs; k++)
                part[k] = GroupNorms.SquareOfDirection(look.Norms[k]);
        });
        double[] directionNorms = [.. squares.Select(Math.Sqrt)];
        FromSimilarities(SumOver(model, split, (look, part) => Multiply(look, directionNorms, part)), directionNorms, weights, scores);
        return (weights, scores);
    }

    /// <summary>Numbers of the inputs, summed over tensors. A tensor whose numbers are not finite ends it: later all tensors would seem to be at fault.</summary>
    private double[] SumOver(ModelContext model, TensorInfo[] tensors, Action<SplitLook, double[]> numbers)
    {
        double[] sums = new double[Count + 1], part = new double[Count + 1];
        foreach (TensorInfo info in tensors)
        {
            model.Look(info, tensor =>
            {
                using SplitLook look = SplitLook.Open(tensor, options);
                numbers(look, part);
                if (!Array.TrueForAll(part, double.IsFinite))
                    throw new NonFiniteOutputException(info, "its norms or inner products are not finite, from finite inputs: they are too large.");
                for (int k = 0; k < part.Length; k++)
                    sums[k] += part[k];
            });
        }

        return sums;
    }

    /// <summary>
    /// For each client into <paramref name="products"/> the inner product of v_k = flatten(V_k) / ||flatten V_k|| with S = sum_j v_j, or with the previous direction. With S the mean
    /// pairwise cosine needs N products, not N^2.
    /// </summary>
    private void Multiply(SplitLook look, ReadOnlySpan<double> directionNorms, Span<double> products)
    {
        bool toPrevious = options.Similarity == Similarity.PreviousDirection;
        products.Clear();
        if (toPrevious && directionNorms[Count] <= options.Epsilon)
            return;
        using GroupBuffer scales = look.NewGroups(toPrevious ? Count + 1 : Count, clear: false);
        for (int k = 0; k < scales.Inputs; k++)
        {
            // a zero v_k has cosine 0 with everything
            if (directionNorms[k] <= options.Epsilon)
                scales[k].Clear();
            else
                GroupNorms.Reciprocals(look.Norms[k], directionNorms[k], scales[k]);
        }

        if (!toPrevious)
        {
            look.Products(scales, scales, products[..Count]);
            return;
        }

        using GroupBuffer previous = look.NewGroups(scales.Inputs, clear: true);
        scales[Count].CopyTo(previous[Count]);
        scales[Count].Clear();
        look.Products(scales, previous, products);
        products[Count] = 0;
    }

    private void FromSimilarities(ReadOnlySpan<double> products, ReadOnlySpan<double> directionNorms, Span<double> weights, Span<double> scores)
    {
        switch (options.Similarity)
        {
            case Similarity.Pairwise when Count == 1:
                scores[0] = 1;
                break;
            case Similarity.Pairwise:
                // <v_k, v_k> = 1 is taken out again, unless v_k is zero
                for (int k = 0; k < Count; k++)
                    scores[k] = (products[k] - (directionNorms[k] <= options.Epsilon ? 0 : 1)) / (Count - 1);
                // two clients have the one cosine between them, which rounding must not make two
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
                    scores[k] = square <= Rounding ? 0 : products[k] / Math.Sqrt(square);
                break;
            default:
                products[..Count].CopyTo(scores);
                if (directionNorms[Count] <= options.Epsilon)
                {
                    weights[..Count].Fill(1.0 / Count);
                    Finish(weights, normalised: true);
                    return;
                }

                break;
        }

        foreach (ref double score in scores)
            score = Math.Abs(score) <= Rounding ? 0 : score;
        FromScores(scores, weights);
    }

    private void FromCaller(string? tensor, Span<double> weights, Span<double> scores)
    {
        for (int k = 0; k < Count; k++)
            scores[k] = options.Scores!(clients[k].Id, tensor);
        for (int k = 0; k < Count; k++)
        {
            if (!double.IsFinite(scores[k]))
            {
                throw new RoundRejectedException(
                    RoundFault.Round,
                    $"Client '{clients[k].Id}': its contribution score{(tensor is null ? "" : $" for tensor '{tensor}'")} is {Numbers.Invariant(scores[k])}; a finite number was expected.",
                    clients[k].Id, tensor);
            }
        }

        FromScores(scores, weights);
    }

    private void FromScores(ReadOnlySpan<double> scores, Span<double> weights)
    {
        Span<double> ofClients = weights[..Count];
        if (options.Weights == WeightRule.Softmax)
            Softmax(scores, options.Tau, ofClients);
        else if (options.Weights == WeightRule.Relu)
            Relu(scores, ofClients);
        else
            scores.CopyTo(ofClients);
        Finish(weights, options.Weights != WeightRule.Raw);
    }

    /// <summary>softmax(s / tau), the largest taken out first; tau = infinity gives uniform weights.</summary>
    private static void Softmax(ReadOnlySpan<double> scores, double tau, Span<double> weights)
    {
        double largest = TensorPrimitives.Max(scores);
        for (int k = 0; k < weights.Length; k++)
            weights[k] = Math.Exp((scores[k] - largest) / tau);
        TensorPrimitives.Divide(weights, Sum(weights), weights);
    }

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

    /// <summary>The weights times the clients' shares where asked, and what they leave.</summary>
    private void Finish(Span<double> weights, bool normalised)
    {
        Span<double> ofClients = weights[..Count];
        if (options.TimesShare)
        {
            for (int k = 0; k < Count; k++)
                ofClients[k] *= clients[k].Share;
            double sum = Sum(ofClients);
            for (int k = 0; k < Count && sum == 0; k++)
                ofClients[k] = clients[k].Share;
            if (sum != 0)
                TensorPrimitives.Divide(ofClients, sum, ofClients);
        }

        weights[Count] = normalised || options.TimesShare ? 0 : 1 - Sum(ofClients);
    }

    /// <summary>One after the other: the report's numbers and the coefficients have this sum's bits.</summary>
    private static double Sum(ReadOnlySpan<double> values)
    {
        double sum = 0;
        foreach (double value in values)
            sum += value;
        return sum;
    }
}
