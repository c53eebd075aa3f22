using BenchmarkDotNet.Attributes;

namespace FedICU.Benchmarks;

/// <summary>
/// Measures the cost of a tensor with rounds of ten clients that have few values, in 448 tensors or in one.
/// </summary>
[MemoryDiagnoser]
public class Overhead
{
    private readonly MemorySink _output = new();
    private Workload _workload = null!;

    [Params(1, 448)]
    public int Tensors { get; set; }

    [GlobalSetup]
    public void Setup() => _workload = new Workload(Layout.Tiny(Tensors), DType.F32, 10) { Clients = 10 };

    [GlobalCleanup]
    public void Cleanup()
    {
        _output.Dispose();
        _workload.Dispose();
    }

    [Benchmark(Description = Names.FedAvg)]
    public void FedAvg() => new FedAvgAggregator().AggregateAsync(Rounds.NewRound(_workload), _output).GetAwaiter().GetResult();

    [Benchmark(Description = Names.FedIcu)]
    public void FedIcu() => new FedIcuAggregator().AggregateAsync(Rounds.NewRound(_workload), _output).GetAwaiter().GetResult();
}
