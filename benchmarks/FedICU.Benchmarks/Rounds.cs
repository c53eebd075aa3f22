using System.Numerics.Tensors;
using BenchmarkDotNet.Attributes;

namespace FedICU.Benchmarks;

/// <summary>Whole rounds of 10 clients with 25 million float32 parameters in memory, on two threads; beside them what one would write otherwise.</summary>
[MemoryDiagnoser]
public class Rounds
{
    private const int Clients = 10;

    private MemoryModel _global = null!;
    private MemoryModel[] _clients = null!;
    private MemorySink _output = null!;

    [Params(Layout.Lora, Layout.Matrix)]
    public Layout Layout { get; set; }

    [GlobalSetup]
    public void Setup()
    {
        _global = Shapes.Random(Layout, 0);
        _clients = [.. Enumerable.Range(1, Clients).Select(seed => Shapes.Random(Layout, seed))];
        _output = new MemorySink();
    }

    [GlobalCleanup]
    public void Cleanup() => _output.Dispose();

    [Benchmark(Baseline = true)]
    public void FedAvg() => Run(new FedAvgAggregator());

    [Benchmark]
    public void FedIcu() => Run(new FedIcuAggregator());

    /// <summary>acc += x * w in float32, one thread, element by element.</summary>
    [Benchmark]
    public void Plain_loop() => Each((accumulator, values, weight) =>
    {
        for (int i = 0; i < accumulator.Length; i++)
            accumulator[i] += values[i] * weight;
    });

    /// <summary>The same with System.Numerics.Tensors, client by client.</summary>
    [Benchmark]
    public void TensorPrimitives_per_client() => Each((accumulator, values, weight) => TensorPrimitives.MultiplyAdd(values, weight, accumulator, accumulator));

    private void Run(IAggregator aggregator)
    {
        // the same sink each time, as a server would keep it
        var round = new AggregationRound(_global) { Options = new RoundOptions { Threads = 2 } };
        for (int k = 0; k < Clients; k++)
            round.Add(ClientUpdate.FromTensors($"client-{k:00}", _clients[k], k + 1));
        aggregator.AggregateAsync(round, _output).GetAwaiter().GetResult();
    }

    private delegate void Step(Span<float> accumulator, ReadOnlySpan<float> values, float weight);

    private void Each(Step step)
    {
        foreach (TensorInfo tensor in _global.Tensors)
        {
            float[] accumulator = new float[tensor.ElementCount];
            for (int k = 0; k < Clients; k++)
            {
                _clients[k].TryPin(tensor, out System.Buffers.MemoryHandle handle);
                using (handle)
                    step(accumulator, Values(handle, tensor), (k + 1) / 55f);
            }
        }
    }

    private static unsafe ReadOnlySpan<float> Values(System.Buffers.MemoryHandle handle, TensorInfo tensor) => new(handle.Pointer, (int)tensor.ElementCount);
}
