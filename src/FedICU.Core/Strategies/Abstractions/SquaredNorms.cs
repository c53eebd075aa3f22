namespace FedICU.Strategies.Abstractions;

/// <summary>The statistic <see cref="RoundStatistic.SquaredNorms"/>.</summary>
internal sealed class SquaredNorms : RoundStatistic
{
    public override string Name => "squared-norms";

    public override int Count(int clients) => clients;

    public override void Measure(TensorContext tensor, Span<double> sums) => tensor.AddSquaredNorms(sums);
}
