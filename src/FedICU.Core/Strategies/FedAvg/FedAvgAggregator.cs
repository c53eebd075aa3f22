namespace FedICU;

/// <summary>
/// FedAvg: x = sum_k n_k y_k / sum_k n_k, the mean of the clients' parameters y_k weighted by their numbers of examples
/// n_k.
/// </summary>
/// <remarks>
/// McMahan, Moore, Ramage, Hampson, Agüera y Arcas: "Communication-Efficient Learning of Deep Networks from
/// Decentralized Data", AISTATS 2017.
/// </remarks>
public sealed class FedAvgAggregator : TensorAggregator, ITensorRule
{
    /// <inheritdoc/>
    public override string Name => "fedavg";

    /// <inheritdoc/>
    protected override ITensorRule Begin(ModelContext model) => this;

    bool ITensorRule.IsThreadSafe => true;

    void ITensorRule.Aggregate(TensorContext tensor) => tensor.WeightedMean();
}
