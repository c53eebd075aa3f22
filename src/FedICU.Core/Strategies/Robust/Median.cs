namespace FedICU;

/// <summary>
/// The coordinate-wise median: each element is the median of the clients' elements, for an even number of clients the
/// mean of the middle two. Weights do not count.
/// </summary>
/// <remarks>
/// Yin, Chen, Kannan, Bartlett: "Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates", ICML 2018.
/// </remarks>
public sealed class Median : MergeRule
{
    /// <inheritdoc/>
    public override string Name => "median";

    /// <inheritdoc/>
    public override void Merge(TensorContext tensor)
    {
        ArgumentNullException.ThrowIfNull(tensor);
        tensor.MiddleMean((tensor.Clients.Count - 1) / 2);
    }
}
