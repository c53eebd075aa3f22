namespace FedICU.Strategies.FedIcu;

/// <summary>
/// The statistic &lt;v_k, S&gt; over the tensors that are split, for each client k: v_k = flatten(V_k) / ||flatten
/// V_k||, and S the sum of all v_j, or the previous direction.
/// </summary>
internal sealed class DirectionProducts(FedIcuOptions options) : RoundStatistic
{
    public override string Name => "fedicu.direction-products";

    // ||flatten V_k|| over the model must be known before the products
    public override IReadOnlyList<RoundStatistic> After { get; } = [new DirectionSquares(options)];

    public override bool Measures(TensorInfo tensor) => ConsensusDivergenceSplit.IsSplit(tensor);

    public override int Count(int clients) => clients + 1;

    public override void Measure(TensorContext tensor, Span<double> sums)
    {
        using SplitPasses passes = SplitPasses.OpenAgain(
            tensor, options, KeptNorms.Of(tensor.Plan).Find(tensor.Info.Name), ownsKept: false);
        new DivergenceAlignment(options, tensor.Clients).MultiplyDirections(passes, DirectionSquares.GetNorms(tensor.Plan), sums);
    }
}
