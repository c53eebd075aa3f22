namespace FedICU.Strategies.Abstractions;

/// <summary>The statistic <see cref="RoundStatistic.PairDistances"/>.</summary>
internal sealed class PairDistances : RoundStatistic
{
    public override string Name => "pair-distances";

    public override int Count(int clients) => checked((int)((long)clients * (clients - 1) / 2));

    public override void Measure(TensorContext tensor, Span<double> sums) => tensor.AddPairDistances(sums);
}
