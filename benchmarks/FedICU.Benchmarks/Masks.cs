using BenchmarkDotNet.Attributes;

namespace FedICU.Benchmarks;

/// <summary>Measures a client's importance-aware update with momentum, from the models to the packed update.</summary>
[MemoryDiagnoser]
public class Masks
{
    private readonly MemorySink _update = new(), _momentum = new(), _next = new();

    /// <summary>
    /// The bytes that an update reads and writes besides the two models: the update, the old and the new momentum.
    /// </summary>
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
