using System.Numerics.Tensors;
using FedICU.Compute;
using FedICU.Memory;
using FedICU.Panels;

namespace FedICU.Strategies.FedIcu;

/// <summary>
/// Split, consensus aggregation, divergence alignment, inject (docs/algorithms.md, FedICU: the server): in the end theta_new[:,c] is one linear combination of the
/// inputs' columns with known coefficients.
/// </summary>
internal sealed class ConsensusDivergenceSplit(FedIcuOptions options, DivergenceAlignment alignment, (double[] Weights, double[] Scores)? ofModel) : ITensorRule
{
    /// <summary>0-D tensors are not split: they take the weighted mean.</summary>
    public static bool IsSplit(TensorInfo tensor) => tensor.Shape.Rank > 0;

    // a caller's scores may be anything
    public bool IsThreadSafe => options.Scores is null;

    public void Aggregate(TensorContext tensor)
    {
        if (!IsSplit(tensor.Info) || tensor.Info.ElementCount == 0)
        {
            tensor.WeightedMean();
            return;
        }

        int clients = tensor.Clients.Count;
        using SplitLook look = SplitLook.Open(tensor, options);
        (PanelReader[] inputs, Grouping grouping, GroupBuffer norms) = (look.Inputs, look.Grouping, look.Norms);
        using GroupBuffer divergence = tensor.NewGroups(2, clients + 1, clear: false);
        Span<double> weights = divergence[0], scores = divergence[1][..clients];
        ofModel?.Weights.CopyTo(weights);
        ofModel?.Scores.CopyTo(scores);
        if (ofModel is null)
            alignment.OfTensor(tensor, look, weights, scores);
        for (int k = 0; k < clients; k++)
            tensor.ReportWeight(k, weights[k], scores[k]);

        using GroupBuffer directions = DirectionCoefficients(tensor, norms, weights);
        bool previousEnters = weights[clients] != 0 && options.Target == SplitTarget.Parameters;
        PanelReader[] combined = previousEnters ? inputs : look.Clients;
        using GroupBuffer squares = look.CombinationSquares(combined, directions, weights, out Unrounded? made);
        using Unrounded? unrounded = made;

        // scale[c] = M[c] / ||V[:,c]||; where V[:,c] vanishes, the previous direction stays (the delta's is zero)
        using GroupBuffer magnitudes = Consensus(tensor, norms);
        using var scales = tensor.NewGroups(1, grouping.Groups, clear: false);
        GroupNorms.Root(squares[0], options.Epsilon);
        bool vanishes = options.Coherence == 0 ? GroupNorms.Quotients(magnitudes[0], squares[0], scales[0])
            : GroupNorms.Coherent(magnitudes[0], squares[0], options.Coherence, scales[0]);
        bool fallsBack = vanishes && options.Target == SplitTarget.Parameters;

        using GroupBuffer? fallback = fallsBack || options.Target == SplitTarget.Delta ? tensor.NewGroups(1, grouping.Groups) : null;
        if (fallsBack)
        {
            for (int c = 0; c < magnitudes.Groups; c++)
            {
                if (squares[0][c] == 0 && look.PreviousNorms[c] > 0)
                    fallback![0][c] = magnitudes[0][c] / look.PreviousNorms[c];
            }
        }

        if (options.Target == SplitTarget.Delta)
            fallback![0].Fill(1);
        if (unrounded is not null && (fallback is null || look.AlwaysKeeps))
            Write(tensor, look, tensor.Read(unrounded.Value), scales, null, fallback);
        else if (fallback is null && !look.IsScaled)
            tensor.Combine(combined, grouping, directions, scales);
        else
            Write(tensor, look, combined, scales, directions, fallback);
    }

    /// <summary>V = (1 - sum w_k) V_prev + sum w_k V_k as coefficients of the inputs' columns: w_k / M_k[c].</summary>
    private static GroupBuffer DirectionCoefficients(TensorContext tensor, GroupBuffer norms, ReadOnlySpan<double> weights)
    {
        var coefficients = tensor.NewGroups(norms.Inputs, norms.Groups, clear: false);
        for (int k = 0; k < norms.Inputs; k++)
        {
            GroupNorms.Reciprocals(norms[k], 1, coefficients[k]);
            TensorPrimitives.Multiply(coefficients[k], weights[k], coefficients[k]);
        }

        return coefficients;
    }

    /// <summary>M = sum_k M_k / N, or by the clients' shares; the update form comes to the same, as these weights sum to one.</summary>
    private GroupBuffer Consensus(TensorContext tensor, GroupBuffer norms)
    {
        double[] weights = tensor.Weights.ToArray();
        if (options.Consensus == ConsensusRule.Uniform)
            Array.Fill(weights, 1);
        var magnitudes = tensor.NewGroups(1, norms.Groups, clear: false);
        Sum(1);
        // a power of two changes no digit of the mean
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

    /// <summary>output = scale * (the combination), plus the global model's columns where they stand in.</summary>
    private static void Write(TensorContext tensor, SplitLook look, PanelReader[] combined, GroupBuffer scales, GroupBuffer? directions, GroupBuffer? fallback)
    {
        (PanelReader[] inputs, Grouping grouping) = (look.Inputs, look.Grouping);
        bool hasGlobal = combined.Length == inputs.Length;
        PanelReader[] all = fallback is null || hasGlobal ? combined : [.. combined, inputs[^1]];
        using var coefficients = tensor.NewGroups(all.Length, grouping.Groups, clear: all.Length > combined.Length);
        for (int k = 0; k < combined.Length; k++)
        {
            if (directions is null)
                scales[0].CopyTo(coefficients[k]);
            else
                TensorPrimitives.Multiply(directions[k], scales[0], coefficients[k]);
        }

        if (fallback is not null)
            TensorPrimitives.Add(coefficients[all.Length - 1], fallback[0], coefficients[all.Length - 1]);
        look.Write(all, coefficients);
    }
}
