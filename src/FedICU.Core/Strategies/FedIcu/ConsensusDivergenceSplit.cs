using System.Numerics.Tensors;

namespace FedICU;

/// <summary>
/// Split, consensus aggregation, divergence alignment, inject (method.md, section 2): in the end theta_new[:,c] is one linear combination of the
/// inputs' columns with known coefficients.
/// </summary>
internal sealed class ConsensusDivergenceSplit(FedIcuOptions options, DivergenceAlignment alignment, DivergenceWeights? ofModel) : ITensorRule
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
        DivergenceWeights divergence = ofModel ?? alignment.OfTensor(tensor, look);
        for (int k = 0; k < clients; k++)
            tensor.ReportWeight(k, divergence.Weights[k], divergence.Scores[k]);

        double[] weights = [.. divergence.Weights, divergence.Residual];
        using GroupBuffer directions = DirectionCoefficients(tensor, norms, weights);
        bool previousEnters = divergence.Residual != 0 && options.Target == SplitTarget.Parameters;
        PanelReader[] combined = previousEnters ? inputs : inputs[..clients];
        using GroupBuffer squares = look.CombinationSquares(combined, directions, weights, out NativeBuffer? made);
        using NativeBuffer? unrounded = made;

        // scale[c] = M[c] / ||V[:,c]||; where V[:,c] vanishes, the previous direction stays (the delta's is zero)
        Span<double> magnitudes = new double[grouping.Groups];
        Consensus(tensor, norms, magnitudes);
        using var scales = tensor.NewGroups(1, grouping.Groups);
        using var fallback = tensor.NewGroups(1, grouping.Groups);
        bool fallsBack = false;
        for (int c = 0; c < magnitudes.Length; c++)
        {
            double norm = Math.Sqrt(squares[0][c]);
            if (!(norm <= options.Epsilon))
            {
                scales[0][c] = magnitudes[c] / norm;
            }
            else if (options.Target == SplitTarget.Parameters && look.PreviousNorms[c] > 0)
            {
                fallback[0][c] = magnitudes[c] / look.PreviousNorms[c];
                fallsBack |= fallback[0][c] != 0;
            }
        }

        if (options.Target == SplitTarget.Delta)
        {
            fallback[0].Fill(1);
            fallsBack = true;
        }

        if (unrounded is not null)
            Write(tensor, grouping, [new UnroundedReader(unrounded)], inputs, scales, null, fallsBack ? fallback : null);
        else
            Write(tensor, grouping, combined, inputs, scales, directions, fallsBack ? fallback : null);
    }

    /// <summary>V = (1 - sum w_k) V_prev + sum w_k V_k as coefficients of the inputs' columns: w_k / M_k[c].</summary>
    private static GroupBuffer DirectionCoefficients(TensorContext tensor, GroupBuffer norms, double[] weights)
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
    private void Consensus(TensorContext tensor, GroupBuffer norms, Span<double> magnitudes)
    {
        int clients = tensor.Clients.Count;
        bool uniform = options.Consensus == ConsensusRule.Uniform;
        for (int k = 0; k < clients; k++)
            TensorPrimitives.FusedMultiplyAdd(norms[k], uniform ? 1 : tensor.Clients[k].Weight, magnitudes, magnitudes);
        TensorPrimitives.Divide(magnitudes, uniform ? clients : tensor.Clients.Sum(client => client.Weight), magnitudes);
    }

    /// <summary>output = scale * (the combination), plus the global model's columns where they stand in.</summary>
    private static void Write(
        TensorContext tensor, Grouping grouping, PanelReader[] combined, PanelReader[] inputs, GroupBuffer scales, GroupBuffer? directions, GroupBuffer? fallback)
    {
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
        tensor.Combine(all, grouping, coefficients);
    }

    /// <summary>The unrounded combination in memory, as an input of the last step.</summary>
    private sealed unsafe class UnroundedReader(NativeBuffer values) : PanelReader
    {
        public override DType DType => DType.F64;

        public override Compute.TensorPanel Read(long start, int count, Scratch scratch) => new((double*)values.Pointer + start, DType.F64);

        // the buffer is the strategy's
        public override void Dispose() { }
    }
}
