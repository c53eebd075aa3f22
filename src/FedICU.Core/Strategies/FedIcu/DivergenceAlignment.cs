namespace FedICU;

/// <summary>The divergence weights of a tensor, or of the whole model: w_k, the scores s_k they were made of, and what they sum to.</summary>
/// <param name="Weights">w_k.</param>
/// <param name="Scores">s_k.</param>
/// <param name="Normalised">Whether the weights sum to one by their rule.</param>
internal sealed record DivergenceWeights(double[] Weights, double[] Scores, bool Normalised)
{
    /// <summary>What the update form V_prev + sum w_k (V_k - V_prev) leaves to the previous direction: 1 - sum w_k.</summary>
    public double Residual { get; } = Normalised ? 0 : 1 - Weights.Sum();
}

/// <summary>From directions to similarities s_k to weights w_k (docs/algorithms.md, FedICU: the server).</summary>
internal sealed class DivergenceAlignment(FedIcuOptions options, IReadOnlyList<RoundClient> clients)
{
    // sums of products of unit vectors are known to this: what is smaller is zero, or relu and shares would weigh its rounding
    private const double Rounding = 1e-12;

    private int Count => clients.Count;

    /// <summary>The weights of one tensor.</summary>
    public DivergenceWeights OfTensor(TensorContext tensor, SplitLook look)
    {
        if (options.Scores is not null)
            return FromCaller(tensor.Info.Name);
        double[] directionNorms = new double[Count + 1];
        for (int k = 0; k < look.Norms.Inputs; k++)
            directionNorms[k] = Math.Sqrt(GroupNorms.SquareOfDirection(look.Norms[k]));
        return FromSimilarities(Products(look, directionNorms), directionNorms);
    }

    /// <summary>One set of weights for all tensors that are split.</summary>
    public DivergenceWeights OfModel(ModelContext model)
    {
        if (options.Scores is not null)
            return FromCaller(null);
        // ||flatten V_k|| over the model must be known before any product: a first look counts, a second multiplies
        TensorInfo[] split = [.. model.Tensors.Where(ConsensusDivergenceSplit.IsSplit)];
        model.BeginLooks(2 * split.Sum(tensor => tensor.ByteLength));
        double[] squares = SumOver(model, split, look => [.. Enumerable.Range(0, look.Norms.Inputs).Select(k => GroupNorms.SquareOfDirection(look.Norms[k]))]);
        double[] directionNorms = [.. squares.Select(Math.Sqrt)];
        return FromSimilarities(SumOver(model, split, look => Products(look, directionNorms))[..Count], directionNorms);
    }

    /// <summary>Numbers of the inputs, summed over tensors. A tensor whose numbers are not finite ends it: later all tensors would seem to be at fault.</summary>
    private double[] SumOver(ModelContext model, TensorInfo[] tensors, Func<SplitLook, double[]> numbers)
    {
        double[] sums = new double[Count + 1];
        foreach (TensorInfo info in tensors)
        {
            model.Look(info, tensor =>
            {
                using SplitLook look = SplitLook.Open(tensor, options);
                double[] part = numbers(look);
                if (!Array.TrueForAll(part, double.IsFinite))
                    throw new NonFiniteOutputException(info, "its norms or inner products are not finite, from finite inputs: they are too large.");
                for (int k = 0; k < part.Length; k++)
                    sums[k] += part[k];
            });
        }

        return sums;
    }

    /// <summary>
    /// For each client the inner product of v_k = flatten(V_k) / ||flatten V_k|| with S = sum_j v_j, or with the previous direction. With S the mean
    /// pairwise cosine needs N products, not N^2.
    /// </summary>
    private double[] Products(SplitLook look, double[] directionNorms)
    {
        bool toPrevious = options.Similarity == Similarity.PreviousDirection;
        if (toPrevious && directionNorms[Count] <= options.Epsilon)
            return new double[Count];
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
            return look.Products(scales, scales);
        using GroupBuffer previous = look.NewGroups(scales.Inputs, clear: true);
        scales[Count].CopyTo(previous[Count]);
        scales[Count].Clear();
        return look.Products(scales, previous)[..Count];
    }

    private DivergenceWeights FromSimilarities(double[] products, double[] directionNorms)
    {
        double[] scores = new double[Count];
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
                double square = products.Sum();
                for (int k = 0; k < Count; k++)
                    scores[k] = square <= Rounding ? 0 : products[k] / Math.Sqrt(square);
                break;
            default:
                products.CopyTo(scores, 0);
                if (directionNorms[Count] <= options.Epsilon)
                    return new DivergenceWeights(TimesShare(Uniform()), scores, Normalised: true);
                break;
        }

        foreach (ref double score in scores.AsSpan())
            score = Math.Abs(score) <= Rounding ? 0 : score;
        return FromScores(scores);
    }

    private DivergenceWeights FromCaller(string? tensor)
    {
        double[] scores = [.. clients.Select(client => options.Scores!(client.Id, tensor))];
        int bad = Array.FindIndex(scores, score => !double.IsFinite(score));
        if (bad >= 0)
        {
            throw new RoundRejectedException(
                RoundFault.Round,
                $"Client '{clients[bad].Id}': its contribution score{(tensor is null ? "" : $" for tensor '{tensor}'")} is {MetadataKeys.Invariant(scores[bad])}; a finite number was expected.",
                clients[bad].Id, tensor);
        }

        return FromScores(scores);
    }

    private DivergenceWeights FromScores(double[] scores)
    {
        double[] weights = options.Weights switch
        {
            WeightRule.Softmax => Softmax(scores, options.Tau),
            WeightRule.Relu => Relu(scores),
            _ => [.. scores],
        };
        return new DivergenceWeights(TimesShare(weights), scores, options.Weights != WeightRule.Raw || options.TimesShare);
    }

    /// <summary>softmax(s / tau), the largest taken out first; tau = infinity gives uniform weights.</summary>
    private static double[] Softmax(double[] scores, double tau)
    {
        double largest = scores.Max();
        double[] weights = [.. scores.Select(score => Math.Exp((score - largest) / tau))];
        double sum = weights.Sum();
        return [.. weights.Select(weight => weight / sum)];
    }

    private double[] Relu(double[] scores)
    {
        double[] weights = [.. scores.Select(score => Math.Max(score, 0))];
        double sum = weights.Sum();
        return sum <= 0 ? Uniform() : [.. weights.Select(weight => weight / sum)];
    }

    private double[] Uniform() => [.. Enumerable.Repeat(1.0 / Count, Count)];

    private double[] TimesShare(double[] weights)
    {
        if (!options.TimesShare)
            return weights;
        double[] shared = [.. weights.Select((weight, k) => weight * clients[k].Share)];
        double sum = shared.Sum();
        return sum == 0 ? [.. clients.Select(client => client.Share)] : [.. shared.Select(weight => weight / sum)];
    }
}
