using System.Numerics.Tensors;
using FedICU.Compute;
using FedICU.Memory;
using FedICU.Panels;

namespace FedICU.Strategies.FedIcu;

/// <summary>
/// FedICU's rule for one tensor: split, consensus aggregation, divergence alignment, inject (docs/algorithms.md,
/// FedICU: the server). The new column theta[:,c] is one linear combination of the inputs' columns, so directions are
/// never stored.
/// </summary>
/// <param name="options">The strategy's options.</param>
/// <param name="alignment">Computes the divergence weights.</param>
/// <param name="modelWeights">The weights and scores for all tensors; null if each tensor has its own.</param>
internal sealed class ConsensusDivergenceSplit(
    FedIcuOptions options, DivergenceAlignment alignment, (double[] Weights, double[] Scores)? modelWeights)
{
    /// <summary>Returns whether a tensor is split. 0-D tensors are not: they take the weighted mean.</summary>
    public static bool IsSplit(TensorInfo tensor) => tensor.Shape.Rank > 0;

    public void Merge(TensorContext tensor)
    {
        if (!IsSplit(tensor.Info) || tensor.Info.ElementCount == 0)
        {
            tensor.WeightedMean();
            return;
        }

        int clients = tensor.Clients.Count;
        using SplitPasses passes = modelWeights is null || options.Scores is not null
            ? SplitPasses.Open(tensor, options)
            : SplitPasses.OpenAgain(tensor, options, KeptNorms.Of(tensor.Plan).Take(tensor.Info.Name), ownsKept: true);
        (SplitInputs inputs, GroupBuffer norms) = (passes.Inputs, passes.Norms);
        using GroupBuffer divergence = tensor.Passes.NewGroups(2, clients + 1, clear: false);
        Span<double> weights = divergence[0], scores = divergence[1][..clients];
        modelWeights?.Weights.CopyTo(weights);
        modelWeights?.Scores.CopyTo(scores);
        if (modelWeights is null)
            alignment.WeighTensor(tensor, passes, weights, scores);
        for (int k = 0; k < clients; k++)
            tensor.ReportWeight(k, weights[k], scores[k]);

        using GroupBuffer directions = DirectionCoefficients(tensor, norms, weights);
        bool hasPrevious = weights[clients] != 0 && options.Target == SplitTarget.Parameters;
        PanelReader[] combined = hasPrevious ? inputs.All : inputs.Clients;
        using GroupBuffer squares = passes.MeasureCombination(combined, directions, weights, out Unrounded? stored);
        using Unrounded? unrounded = stored;

        // scales[c] = M[c] / ||V[:,c]||; 0 if V[:,c] vanishes: the previous direction then stays, or, of updates, none
        using GroupBuffer magnitudes = AverageMagnitudes(tensor, norms);
        using GroupBuffer scales = tensor.Passes.NewGroups(1, inputs.Grouping.Groups, clear: false);
        GroupNorms.TakeRoots(squares[0], options.Epsilon);
        bool vanishes = options.Coherence == 0
            ? GroupNorms.Divide(magnitudes[0], squares[0], scales[0])
            : GroupNorms.DivideCoherent(magnitudes[0], squares[0], options.Coherence, scales[0]);

        using GroupBuffer? global = GlobalCoefficients(tensor, passes, vanishes, magnitudes[0], squares[0]);
        if (unrounded is not null && (global is null || passes.AlwaysStores))
            Write(tensor, passes, tensor.Passes.Read(unrounded.Value), scales, null, global);
        else if (global is null && !inputs.IsScaled)
            tensor.Passes.Combine(combined, inputs.Grouping, directions, scales);
        else
            Write(tensor, passes, combined, scales, directions, global);
    }

    /// <summary>
    /// Returns the coefficients of the global model's columns that are added to the combination: 1 if updates are
    /// split; M[c] divided by the column's norm if V[:,c] vanishes, so that the previous direction stays. Null if there
    /// are none.
    /// </summary>
    private GroupBuffer? GlobalCoefficients(
        TensorContext tensor, SplitPasses passes, bool vanishes, ReadOnlySpan<double> magnitudes, ReadOnlySpan<double> directionNorms)
    {
        bool isDelta = options.Target == SplitTarget.Delta;
        if (!isDelta && !vanishes)
            return null;
        GroupBuffer global = tensor.Passes.NewGroups(1, passes.Inputs.Grouping.Groups);
        Span<double> coefficients = global[0];
        if (isDelta)
        {
            coefficients.Fill(1);
            return global;
        }

        ReadOnlySpan<double> previousNorms = passes.PreviousNorms;
        for (int c = 0; c < coefficients.Length; c++)
        {
            if (directionNorms[c] == 0 && previousNorms[c] > 0)
                coefficients[c] = magnitudes[c] / previousNorms[c];
        }

        return global;
    }

    /// <summary>
    /// Returns V = (1 - sum_k w_k) V_prev + sum_k w_k V_k as the coefficients w_k / M_k[c] of the inputs' columns.
    /// </summary>
    private static GroupBuffer DirectionCoefficients(TensorContext tensor, GroupBuffer norms, ReadOnlySpan<double> weights)
    {
        var coefficients = tensor.Passes.NewGroups(norms.Inputs, norms.Groups, clear: false);
        for (int k = 0; k < norms.Inputs; k++)
        {
            GroupNorms.TakeReciprocals(norms[k], 1, coefficients[k]);
            TensorPrimitives.Multiply(coefficients[k], weights[k], coefficients[k]);
        }

        return coefficients;
    }

    /// <summary>
    /// Returns the consensus M = sum_k M_k / N, or the mean by the clients' shares. It equals the paper's update form
    /// M_prev + sum_k (M_k - M_prev) / N, because the weights sum to one.
    /// </summary>
    private GroupBuffer AverageMagnitudes(TensorContext tensor, GroupBuffer norms)
    {
        double[] weights = tensor.Weights.ToArray();
        if (options.Consensus == ConsensusRule.Uniform)
            Array.Fill(weights, 1);
        var magnitudes = tensor.Passes.NewGroups(1, norms.Groups, clear: false);
        Sum(1);
        // if the sum overflowed, add with smaller weights: a power of two changes no digit of the mean
        if (magnitudes[0].Contains(double.PositiveInfinity))
            Sum(SumScale.Of(weights.Max(), weights.Length));
        return magnitudes;

        void Sum(double scale)
        {
            Span<double> mean = magnitudes[0];
            mean.Clear();
            for (int k = 0; k < weights.Length; k++)
                TensorPrimitives.FusedMultiplyAdd(norms[k], weights[k] * scale, mean, mean);
            TensorPrimitives.Divide(mean, weights.Sum() * scale, mean);
        }
    }

    /// <summary>Writes output = scale * (the combination) + coefficient * (the global model).</summary>
    /// <param name="tensor">The tensor.</param>
    /// <param name="passes">The passes over it.</param>
    /// <param name="combined">The inputs that are combined, or their stored combination.</param>
    /// <param name="scales">The scale of each column.</param>
    /// <param name="directions">The coefficients of the inputs; null for a stored combination.</param>
    /// <param name="global">The coefficients of the global model's columns; null adds none.</param>
    private static void Write(
        TensorContext tensor, SplitPasses passes, PanelReader[] combined, GroupBuffer scales, GroupBuffer? directions, GroupBuffer? global)
    {
        SplitInputs inputs = passes.Inputs;
        bool hasGlobal = combined.Length == inputs.All.Length;
        PanelReader[] all = global is null || hasGlobal ? combined : [.. combined, inputs.All[^1]];
        using GroupBuffer coefficients = tensor.Passes.NewGroups(all.Length, inputs.Grouping.Groups, clear: all.Length > combined.Length);
        for (int k = 0; k < combined.Length; k++)
        {
            if (directions is null)
                scales[0].CopyTo(coefficients[k]);
            else
                TensorPrimitives.Multiply(directions[k], scales[0], coefficients[k]);
        }

        if (global is not null)
            TensorPrimitives.Add(coefficients[all.Length - 1], global[0], coefficients[all.Length - 1]);
        passes.Write(all, coefficients);
    }
}
