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

/// <summary>From directions to similarities s_k to weights w_k (method.md, section 2, "Divergence alignment").</summary>
internal sealed class DivergenceAlignment(FedIcuOptions options, IReadOnlyList<RoundClient> clients)
{
    private int Count => clients.Count;

    /// <summary>The weights of one tensor. <paramref name="norms"/> holds each client's norms and, after them, the global model's.</summary>
    public DivergenceWeights OfTensor(TensorContext tensor, PanelReader[] inputs, Grouping grouping, GroupBuffer norms) =>
        options.Scores is not null ? FromCaller(tensor.Info.Name) : FromSimilarities(Products(tensor, inputs, grouping, norms, DirectionNorms(norms)), DirectionNorms(norms));

    /// <summary>One set of weights for all tensors that are split.</summary>
    public DivergenceWeights OfModel(ModelContext model)
    {
        if (options.Scores is not null)
            return FromCaller(null);
        // ||flatten V_k|| over the model must be known before any product: a first look counts, a second multiplies
        double[] squares = new double[Count + 1];
        Look(model, (_, _, _, norms) =>
        {
            for (int k = 0; k <= Count; k++)
                squares[k] += SquareOfDirection(norms[k]);
        });
        double[] directionNorms = [.. squares.Select(Math.Sqrt)];
        double[] products = new double[Count];
        Look(model, (tensor, inputs, grouping, norms) =>
        {
            double[] part = Products(tensor, inputs, grouping, norms, directionNorms);
            for (int k = 0; k < Count; k++)
                products[k] += part[k];
        });
        return FromSimilarities(products, directionNorms);
    }

    private void Look(ModelContext model, Action<TensorContext, PanelReader[], Grouping, GroupBuffer> look)
    {
        foreach (TensorInfo info in model.Tensors.Where(ConsensusDivergenceSplit.IsSplit))
        {
            using TensorContext tensor = model.Open(info);
            var grouping = new Grouping(info.Shape, options.Axis);
            PanelReader[] inputs = ConsensusDivergenceSplit.Inputs(tensor, options);
            tensor.Preload(inputs);
            using GroupBuffer norms = ConsensusDivergenceSplit.Norms(tensor, inputs, grouping, options);
            look(tensor, inputs, grouping, norms);
        }
    }

    /// <summary>
    /// For each client the inner product of v_k = flatten(V_k) / ||flatten V_k|| with S = sum_j v_j, or with the previous direction. With S the mean
    /// pairwise cosine needs N products, not N^2.
    /// </summary>
    private double[] Products(TensorContext tensor, PanelReader[] inputs, Grouping grouping, GroupBuffer norms, double[] directionNorms)
    {
        bool toPrevious = options.Similarity == Similarity.PreviousDirection;
        PanelReader[] looked = toPrevious ? inputs : inputs[..Count];
        using var scales = new GroupBuffer(looked.Length, grouping.Groups);
        for (int k = 0; k < looked.Length; k++)
        {
            // a zero v_k has cosine 0 with everything
            if (!(directionNorms[k] <= options.Epsilon))
                ConsensusDivergenceSplit.Reciprocals(norms[k], directionNorms[k], scales[k]);
        }

        if (!toPrevious)
            return tensor.Projections(looked, grouping, scales, scales);
        using var previous = new GroupBuffer(looked.Length, grouping.Groups);
        scales[Count].CopyTo(previous[Count]);
        scales[Count].Clear();
        return tensor.Projections(looked, grouping, scales, previous)[..Count];
    }

    private double[] DirectionNorms(GroupBuffer norms) => [.. Enumerable.Range(0, Count + 1).Select(k => Math.Sqrt(SquareOfDirection(norms[k])))];

    /// <summary>||flatten V||^2: every column of V has norm 1, or is zero.</summary>
    private static double SquareOfDirection(ReadOnlySpan<double> norms)
    {
        long columns = 0;
        foreach (double norm in norms)
        {
            // a NaN must stay one
            if (double.IsNaN(norm))
                return norm;
            if (norm > 0)
                columns++;
        }

        return columns;
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
                break;
            case Similarity.PairwiseWithSelf:
                for (int k = 0; k < Count; k++)
                    scores[k] = products[k] / Count;
                break;
            case Similarity.MeanDirection:
                // ||S||^2 = sum_k <v_k, S>
                double norm = Math.Sqrt(Math.Max(products.Sum(), 0));
                for (int k = 0; k < Count; k++)
                    scores[k] = norm <= options.Epsilon ? 0 : products[k] / norm;
                break;
            default:
                products.CopyTo(scores, 0);
                if (directionNorms[Count] <= options.Epsilon)
                    return new DivergenceWeights(TimesShare(Uniform()), scores, Normalised: true);
                break;
        }

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
