using FedICU.Strategies.Abstractions;
using FedICU.Strategies.Lora;
using FedICU.Strategies.Merging;

namespace FedICU;

/// <summary>
/// Task arithmetic's merge of the products P = s B A of LoRA pairs: P + lambda sum_k w_k (P_k - P), as stacked factors.
/// Ranks and alphas may differ. Other tensors are merged as in <see cref="TaskArithmetic"/>.
/// </summary>
public sealed class ProductArithmetic : PairMerge
{
    private readonly bool _leavesGlobal;

    /// <summary>Creates the merge.</summary>
    /// <param name="options">The options, with <see cref="MergeSpace.Product"/>.</param>
    /// <exception cref="InvalidOptionsException">The options break their rules.</exception>
    public ProductArithmetic(TaskArithmeticOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        Options = options;
        options.Validate(MergeSpace.Product);
        // with weights whose sum is 1 and a scale of 1, nothing is left of the global model's product
        _leavesGlobal = options is { Scale: 1, Weighting: MergeWeighting.Share or MergeWeighting.Uniform };
    }

    /// <summary>Gets the options.</summary>
    public TaskArithmeticOptions Options { get; }

    /// <inheritdoc/>
    public override string Name => "task-arithmetic";

    internal override string? OwnWeighting => MergeWeights.DescribeOwn(Options.Weighting);

    internal override double? LoraScaling => Options.LoraScaling;

    internal override bool MixesRanks => true;

    internal override bool WritesUnitScaling => true;

    internal override bool MayExceedSides => true;

    internal override long GetRank(LoraPair pair, IReadOnlyList<long> ranks) => ranks.Sum() + (_leavesGlobal ? 0 : pair.Rank);

    internal override void Merge(PairContext pair)
    {
        double[] weights = MergeWeights.Get(pair.MergeWeights, Options.Weighting);
        for (int k = 0; k < weights.Length; k++)
        {
            pair.ReportWeight(k, weights[k]);
            weights[k] *= Options.Scale;
        }

        FactorStack.Write(pair, weights, _leavesGlobal ? null : 1 - weights.Sum());
        pair.ReportError(0, double.NaN);
    }

    internal override void MergeOther(TensorContext tensor) => TaskArithmetic.Add(tensor, Options);
}
