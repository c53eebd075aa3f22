namespace FedICU.Strategies.FedIcu;

/// <summary>
/// The statistic ||flatten V_k||^2 over the tensors that are split: for each client and, last, for the global model.
/// </summary>
internal sealed class DirectionSquares(FedIcuOptions options) : RoundStatistic
{
    private const string StatisticName = "fedicu.direction-squares";

    public override string Name => StatisticName;

    public override bool Measures(TensorInfo tensor) => ConsensusDivergenceSplit.IsSplit(tensor);

    public override int Count(int clients) => clients + 1;

    public override void Measure(TensorContext tensor, Span<double> sums)
    {
        using SplitPasses passes = SplitPasses.OpenForNorms(tensor, options);
        for (int k = 0; k < passes.Norms.Inputs; k++)
            sums[k] = GroupNorms.MeasureDirectionSquare(passes.Norms[k]);
    }

    /// <summary>Returns the norms ||flatten V_k||.</summary>
    public static double[] GetNorms(RoundPlan plan)
    {
        double[] norms = plan[StatisticName].ToArray();
        for (int k = 0; k < norms.Length; k++)
            norms[k] = Math.Sqrt(norms[k]);
        return norms;
    }
}
