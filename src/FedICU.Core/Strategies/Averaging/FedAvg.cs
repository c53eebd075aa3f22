namespace FedICU;

/// <summary>
/// FedAvg's merge: x = sum_k n_k y_k / sum_k n_k, the mean of the clients' parameters y_k weighted by their numbers of
/// examples n_k.
/// </summary>
/// <remarks>
/// McMahan, Moore, Ramage, Hampson, Agüera y Arcas: "Communication-Efficient Learning of Deep Networks from
/// Decentralized Data", AISTATS 2017.
/// </remarks>
/// <param name="options">The options; null for the defaults.</param>
public sealed class FedAvg(FedAvgOptions? options = null) : MergeRule
{
    /// <inheritdoc/>
    public override string Name => "fedavg";

    /// <summary>Gets the options.</summary>
    public FedAvgOptions Options { get; } = options ?? new FedAvgOptions();

    internal override bool IsMean => true;

    internal override string? OwnWeighting => Options.Weighting == Weighting.Uniform ? "uniform" : null;

    /// <inheritdoc/>
    public override void Merge(TensorContext tensor)
    {
        ArgumentNullException.ThrowIfNull(tensor);
        if (Options.Weighting == Weighting.Share)
        {
            tensor.WeightedMean();
            return;
        }

        double[] ones = new double[tensor.Clients.Count];
        Array.Fill(ones, 1);
        for (int k = 0; k < ones.Length; k++)
            tensor.ReportWeight(k, 1.0 / ones.Length);
        tensor.WeightedSum(ones, ones.Length);
    }
}
