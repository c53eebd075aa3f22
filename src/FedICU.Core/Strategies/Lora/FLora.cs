using FedICU.Compute;
using FedICU.Strategies.Abstractions;

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

    internal override unsafe void Merge(PairContext pair)
    {
        long row = 0, rank = pair.Written.Rank;
        int size = pair.OutputB.DType.BitSize / 8;
        for (int k = 0; k < pair.Clients; k++)
        {
            int own = (int)pair.Forms[k].Rank;
            pair.ReportWeight(k, pair.Weights[k]);
            pair.CopyA(
                k, pair.Weights[k] * pair.Forms[k].Scaling / pair.Written.Scaling, PairContext.At(pair.OutputA, row * pair.Pair.Inputs));
            var columns = new TensorPanel(pair.Take(own * pair.Pair.Outputs), pair.OutputB.DType);
            pair.CopyB(k, 1, columns);
            byte* from = (byte*)columns.Data, to = (byte*)pair.OutputB.Data + row * size;
            int bytes = own * size;
            for (long i = 0; i < pair.Pair.Outputs; i++)
                Buffer.MemoryCopy(from + i * bytes, to + i * rank * size, bytes, bytes);
            row += own;
        }

        pair.ReportError(0, double.NaN);
    }
}
