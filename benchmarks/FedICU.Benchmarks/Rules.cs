using BenchmarkDotNet.Attributes;

namespace FedICU.Benchmarks;

/// <summary>
/// Measures rounds of the other rules. A rule's state stays in memory from round to round and is part of the time.
/// </summary>
public class Rules : Rounds
{
    private readonly RoundState _state = RoundState.InMemory();

    [GlobalCleanup(Target = nameof(FedAdam))]
    public void DisposeState()
    {
        _state.Dispose();
        Cleanup();
    }

    [Benchmark(Description = Names.Median)]
    public void Median() => Run(new MedianAggregator());

    [Benchmark(Description = Names.Krum)]
    public void Krum() => Run(new KrumAggregator());

    [Benchmark(Description = Names.FedAdam)]
    public void FedAdam() => Run(new FedAdamAggregator(), state: _state);
}
