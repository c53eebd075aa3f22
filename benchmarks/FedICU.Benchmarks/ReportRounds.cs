using BenchmarkDotNet.Attributes;

namespace FedICU.Benchmarks;

/// <summary>
/// Measures a round whose report has full statistics, for LoRA adapters also the cross-terms of their factors.
/// </summary>
public class ReportRounds : Rounds
{
    [Benchmark(Description = Names.Statistics)]
    public void Statistics() => Run(new FedAvgAggregator(), new RoundOptions { Statistics = true });
}
