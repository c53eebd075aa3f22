using BenchmarkDotNet.Attributes;

namespace FedICU.Benchmarks;

/// <summary>
/// Measures whole rounds in memory, from the checks to the report. All rounds write to the same sink, as on a server.
/// </summary>
[MemoryDiagnoser]
public class Rounds
{
    private readonly MemorySink _output = new();

    protected static Workload Workload => Suite.Workload;

    [GlobalCleanup]
    public virtual void Cleanup() => _output.Dispose();

    [Benchmark(Description = Names.FedAvg)]
    public void FedAvg() => Run(new FedAvgAggregator());

    [Benchmark(Description = Names.FedAvgAlone)]
    public void FedAvgAlone() => Run(new FedAvgAggregator(), new RoundOptions { Threads = 1 });

    [Benchmark(Description = Names.FedProx)]
    public void FedProx() => Run(new FedProxAggregator());

    [Benchmark(Description = Names.FedIcu)]
    public void FedIcu() => Run(new FedIcuAggregator());

    [Benchmark(Description = Names.FedIcuAlone)]
    public void FedIcuAlone() => Run(new FedIcuAggregator(), new RoundOptions { Threads = 1 });

    protected void Run(
        IAggregator aggregator, RoundOptions? options = null, IReadOnlyList<MemorySink>? packed = null, RoundState? state = null)
    {
        AggregationRound round = NewRound(Workload, packed, options);
        round.State = state;
        aggregator.AggregateAsync(round, _output).GetAwaiter().GetResult();
    }

    internal static AggregationRound NewRound(
        Workload workload, IReadOnlyList<MemorySink>? packed = null, RoundOptions? options = null,
        Func<TensorSource, TensorSource>? wrap = null)
    {
        wrap ??= source => source;
        var round = new AggregationRound(wrap(workload.Global), options ?? new RoundOptions());
        for (int k = 0; k < workload.Clients; k++)
        {
            var statements = new ClientStatements { LocalSteps = 1 + k % 4, Loss = 0.5 + k % 3 };
            TensorSource model = wrap(packed?[k].Model ?? workload.Client(k));
            round.Add(ClientUpdate.FromTensors($"client-{k:000}", model, k + 1, statements: statements));
        }

        return round;
    }
}
