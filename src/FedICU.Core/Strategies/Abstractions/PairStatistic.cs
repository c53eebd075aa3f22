namespace FedICU.Strategies.Abstractions;

/// <summary>A statistic that is a sum over LoRA pairs.</summary>
internal abstract class PairStatistic : RoundStatistic
{
    public sealed override bool Measures(TensorInfo tensor) => false;

    public sealed override void Measure(TensorContext tensor, Span<double> sums) => throw new NotSupportedException();

    /// <summary>Adds one pair's part to the sums.</summary>
    public abstract void Measure(PairContext pair, Span<double> sums);
}
