using FedICU.Compute;
using FedICU.Strategies.Abstractions;
using FedICU.Strategies.Lora;
using FedICU.Text;

namespace FedICU;

/// <summary>
/// HetLoRA's merge pads the clients' factors with zeros to the largest rank, the global model's included, and averages
/// them: A = sum_k v_k A_k, B = sum_k v_k (s_k / s) B_k. v_k is the norm of s_k B_k A_k over the sum of these norms.
/// </summary>
/// <remarks>
/// Cho et al.: "Heterogeneous LoRA for Federated Fine-tuning of On-Device Foundation Models", EMNLP 2024.
/// </remarks>
/// <param name="options">The options; null for the defaults.</param>
public sealed class HetLora(HetLoraOptions? options = null) : PairMerge
{
    // the largest norm that counts as 0: the project's constant for norms
    private const double Epsilon = 1e-12;

    /// <inheritdoc/>
    public override string Name => "hetlora";

    /// <summary>Gets the options.</summary>
    public HetLoraOptions Options { get; } = HetLoraOptions.Checked(options);

    /// <inheritdoc/>
    public override IReadOnlyList<RoundStatistic> Statistics =>
        Options is { Weights: HetLoraWeights.Frobenius, Granularity: Granularity.Model } ? [ProductNorms.Instance] : [];

    internal override double? LoraScaling => Options.LoraScaling;

    internal override bool MixesRanks => true;

    internal override long GetRank(LoraPair pair, IReadOnlyList<long> ranks) => Math.Max(pair.Rank, ranks.Max());

    internal override unsafe void Merge(PairContext pair)
    {
        if (pair.Written.Scaling == 0)
        {
            throw RoundPlan.Refuse(
                $"'hetlora' divides by the scaling of {Sentence.Quote(pair.Pair.Module)}, which is 0; another alpha was expected.");
        }

        double* a = pair.StackA(_ => 1), b = pair.StackB(_ => 1);
        double[] weights = Weigh(pair, a, b);
        for (int k = 0; k < weights.Length; k++)
            pair.ReportWeight(k, weights[k]);
        double[] ofB = [.. weights.Select((weight, k) => weight * pair.Forms[k].Scaling / pair.Written.Scaling)];
        pair.WriteA(Sum(pair, a, pair.Pair.Inputs, weights));
        pair.WriteColumnsOfB(Sum(pair, b, pair.Pair.Outputs, ofB));
    }

    /// <summary>Returns v_k.</summary>
    private unsafe double[] Weigh(PairContext pair, double* a, double* b)
    {
        if (Options.Weights == HetLoraWeights.Share)
            return [.. pair.Weights];
        double[] norms = new double[pair.Clients];
        if (Options.Weights == HetLoraWeights.Frobenius)
        {
            if (Options.Granularity == Granularity.Model)
                pair.Plan[ProductNorms.Instance].CopyTo(norms);
            else
                ProductNorms.AddSquares(pair, a, b, norms);
            for (int k = 0; k < norms.Length; k++)
                norms[k] = Math.Sqrt(norms[k]);
        }

        if (!Array.TrueForAll(norms, double.IsFinite))
            throw pair.TooLarge();
        double total = norms.Sum();
        return Array.TrueForAll(norms, norm => norm <= Epsilon)
            ? [.. norms.Select(_ => 1.0 / norms.Length)]
            : [.. norms.Select(norm => norm / total)];
    }

    /// <summary>Adds the clients' rows; a client without a row has zeros there.</summary>
    private static unsafe double* Sum(PairContext pair, double* stacked, long length, double[] factors)
    {
        double* sums = pair.TakeZeros(pair.Written.Rank * length);
        for (int row = 0; row < pair.Written.Rank; row++)
        {
            var inputs = new List<TensorPanel>();
            var weights = new List<double>();
            for (int k = 0, first = 0; k < factors.Length; first += (int)pair.Forms[k++].Rank)
            {
                if (row >= pair.Forms[k].Rank)
                    continue;
                inputs.Add(new TensorPanel(stacked + (first + row) * length, DType.F64));
                weights.Add(factors[k]);
            }

            if (inputs.Count > 0)
                pair.Combine([.. inputs], [.. weights], length, sums + row * length);
        }

        return sums;
    }
}
