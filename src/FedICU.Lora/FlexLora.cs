using FedICU.Lora;
using FedICU.Strategies.Abstractions;
using FedICU.Text;

namespace FedICU;

/// <summary>
/// FlexLoRA's merge takes the best factors of a rank of the clients' mean product: W = sum_k w_k s_k B_k A_k ~ U S V^T,
/// B = U (S/s)^1/2, A = (S/s)^1/2 V^T. The product is never formed.
/// </summary>
/// <remarks>
/// Bai et al.: "Federated Fine-tuning of Large Language Models under Heterogeneous Tasks and Client Resources", NeurIPS
/// 2024. Ranks and alphas may differ between clients and modules.
/// </remarks>
/// <param name="options">The options; null for the defaults.</param>
public sealed class FlexLora(FlexLoraOptions? options = null) : PairMerge
{
    /// <inheritdoc/>
    public override string Name => "flexlora";

    /// <summary>Gets the options.</summary>
    public FlexLoraOptions Options { get; } = FlexLoraOptions.Checked(options);

    internal override double? LoraScaling => Options.LoraScaling;

    internal override bool MixesRanks => true;

    /// <summary>Gets whether a pair never gets a larger rank than the global model's.</summary>
    internal bool KeepsSmallerRanks { get; init; }

    // a cut takes what flora writes: its rank is the clients' sum
    internal override bool TakesAnyRank => KeepsSmallerRanks;

    internal override long GetRank(LoraPair pair, IReadOnlyList<long> ranks)
    {
        long own = Math.Min(pair.Rank, Math.Min(pair.Inputs, pair.Outputs));
        return KeepsSmallerRanks ? Math.Min(Options.Rank ?? own, own) : Options.Rank ?? own;
    }

    internal override void Merge(PairContext pair)
    {
        if (pair.Written.Scaling == 0)
        {
            throw RoundPlan.Refuse(
                $"'flexlora' divides by the scaling of {Sentence.Quote(pair.Pair.Module)}, which is 0; another alpha was expected.");
        }

        double[] products = [.. pair.Weights.Select((weight, k) => weight * pair.Forms[k].Scaling)];
        for (int k = 0; k < products.Length; k++)
            pair.ReportWeight(k, pair.Weights[k]);
        // both factors get the root; B gets the sign of a negative scaling
        ProductDecomposition product = ProductDecomposition.Run(
            pair, k => Math.CopySign(Math.Sqrt(Math.Abs(products[k])), products[k]), k => Math.Sqrt(Math.Abs(products[k])));
        (double error, double norm) = FactorWriter.Write(pair, product, Options.Split);
        pair.ReportError(error, norm);
    }
}
