using BenchmarkDotNet.Attributes;

namespace FedICU.Benchmarks;

/// <summary>Measures a round over packed updates.</summary>
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
