using BenchmarkDotNet.Attributes;

namespace FedICU.Benchmarks;

/// <summary>Whole rounds in memory, from the checks to the report: one after the other into the same sink, as a server runs them.</summary>
[MemoryDiagnoser]
public class Rounds
{
    private readonly MemorySink _output = new();

    protected static Workload Workload => Suite.Workload;

    [GlobalCleanup]
    public void Cleanup() => _output.Dispose();

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

    protected void Run(IAggregator aggregator, RoundOptions? options = null, IReadOnlyList<MemorySink>? packed = null)
    {
        AggregationRound round = NewRound(Workload, packed, options);
        aggregator.AggregateAsync(round, _output).GetAwaiter().GetResult();
    }

    internal static AggregationRound NewRound(Workload workload, IReadOnlyList<MemorySink>? packed = null, RoundOptions? options = null, Func<TensorSource, TensorSource>? wrap = null)
    {
        wrap ??= source => source;
        var round = new AggregationRound(wrap(workload.Global), options ?? new RoundOptions());
        for (int k = 0; k < workload.Clients; k++)
            round.Add(ClientUpdate.FromTensors($"client-{k:000}", wrap(packed?[k].Model ?? workload.Client(k)), k + 1));
        return round;
    }
}

/// <summary>A round over packed updates.</summary>
public class SparseRounds : Rounds
{
    private IReadOnlyList<MemorySink> _packed = null!;

    /// <summary>The bytes of the clients' packed updates.</summary>
    internal static long Bytes => Workload.Packed().Take(Workload.Clients).Sum(sink => sink.Model.Tensors.Sum(tensor => tensor.ByteLength));

    [GlobalSetup]
    public void Setup() => _packed = Workload.Packed();

    [Benchmark(Description = Names.Sparse)]
    public void Sparse() => Run(new FedAvgAggregator(), packed: _packed);
}

/// <summary>A round whose report holds full statistics; for LoRA adapters also what averaging the factors does to their products.</summary>
public class ReportRounds : Rounds
{
    [Benchmark(Description = Names.Statistics)]
    public void Statistics() => Run(new FedAvgAggregator(), new RoundOptions { Statistics = true });
}

/// <summary>A client's importance-aware update with its momentum, from the models to the packed update.</summary>
[MemoryDiagnoser]
public class Masks
{
    private readonly MemorySink _update = new(), _momentum = new(), _next = new();

    /// <summary>The bytes of an update and its momentum, in and out, without the two models.</summary>
    internal static long Bytes { get; private set; }

    [GlobalSetup]
    public void Setup()
    {
        new FedIcuClient().CreateUpdate(Suite.Workload.Global, Suite.Workload.Client(1), _update, momentumOutput: _momentum);
        Bytes = _update.Model.Tensors.Sum(tensor => tensor.ByteLength) + 2 * _momentum.Model.Tensors.Sum(tensor => tensor.ByteLength);
    }

    [GlobalCleanup]
    public void Cleanup() => Array.ForEach([_update, _momentum, _next], sink => sink.Dispose());

    [Benchmark(Description = Names.Mask)]
    public void Mask() => new FedIcuClient().CreateUpdate(Suite.Workload.Global, Suite.Workload.Client(0), _update, _momentum.Model, _next);
}
