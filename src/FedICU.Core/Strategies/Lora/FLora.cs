using FedICU.Strategies.Abstractions;
using FedICU.Strategies.Lora;

namespace FedICU;

/// <summary>
/// FLoRA's merge stacks the clients' factors: A = [w_k s_k A_k] below each other, B = [B_k] side by side, so that s B A
/// = sum_k w_k s_k B_k A_k exactly. The rank is the sum of the clients' ranks, lora_alpha equals it and the scaling is
/// 1.
/// </summary>
/// <remarks>
/// Wang et al.: "FLoRA: Federated Fine-Tuning Large Language Models with Heterogeneous Low-Rank Adaptations", NeurIPS
/// 2024. Ranks and alphas may differ between clients and modules.
/// </remarks>
/// <param name="options">The options; null for the defaults.</param>
public sealed class FLora(FLoraOptions? options = null) : PairMerge
{
    /// <inheritdoc/>
    public override string Name => "flora";

    /// <summary>Gets the options.</summary>
    public FLoraOptions Options { get; } = FLoraOptions.Checked(options);

    internal override double? LoraScaling => Options.LoraScaling;

    internal override bool MixesRanks => true;

    internal override bool WritesUnitScaling => true;

    internal override bool MayExceedSides => true;

    internal override long GetRank(LoraPair pair, IReadOnlyList<long> ranks) => ranks.Sum();

    internal override void Merge(PairContext pair)
    {
        for (int k = 0; k < pair.Clients; k++)
            pair.ReportWeight(k, pair.Weights[k]);
        FactorStack.Write(pair, [.. pair.Weights], ofGlobal: null);
        pair.ReportError(0, double.NaN);
    }
}
