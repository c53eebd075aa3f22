namespace FedICU.Benchmarks;

/// <summary>
/// Counts how often a round or an update reads each of its inputs. The counts are the same on every machine.
/// </summary>
internal static class ReadCounts
{
    public static IEnumerable<(string What, double Reads)> Of(Layout layout)
    {
        using var workload = new Workload(layout, DType.F32, 10) { Clients = 10 };
        (string Name, IAggregator Aggregator)[] aggregators =
            [(Names.FedAvg, new FedAvgAggregator()), (Names.FedIcu, new FedIcuAggregator())];
        foreach ((string name, IAggregator aggregator) in aggregators)
        {
            var sources = new List<CountingSource>();
            aggregator.AggregateAsync(Rounds.NewRound(workload, wrap: Count), TensorSink.Discard).GetAwaiter().GetResult();
            yield return ($"{name}, {layout.Name}, the global model", sources[0].Reads);
            yield return ($"{name}, {layout.Name}, a client", sources.Skip(1).Max(source => source.Reads));

            TensorSource Count(TensorSource source)
            {
                sources.Add(new CountingSource(source));
                return sources[^1];
            }
        }

        using MemorySink momentum = new(), next = new();
        var client = new FedIcuClient();
        client.CreateUpdate(workload.Global, workload.Client(0), TensorSink.Discard, momentumOutput: momentum);
        using CountingSource global = new(workload.Global), local = new(workload.Client(1)), kept = new(momentum.Model);
        client.CreateUpdate(global, local, TensorSink.Discard, kept, next);
        yield return ($"{Names.Mask}, {layout.Name}, the global model", global.Reads);
        yield return ($"{Names.Mask}, {layout.Name}, the trained model", local.Reads);
        yield return ($"{Names.Mask}, {layout.Name}, the momentum", kept.Reads);
    }

    /// <summary>
    /// Counts the bytes that are read. The source gives no pointers to its memory, so that every byte is read through
    /// it.
    /// </summary>
    private sealed class CountingSource(TensorSource inner) : TensorSource
    {
        private long _bytes;

        public double Reads => (double)_bytes / Tensors.Sum(tensor => tensor.ByteLength);

        public override IReadOnlyList<TensorInfo> Tensors => inner.Tensors;

        public override IReadOnlyDictionary<string, string> Metadata => inner.Metadata;

        public override string Location => inner.Location;

        public override void Read(TensorInfo tensor, long offset, Span<byte> destination)
        {
            Interlocked.Add(ref _bytes, destination.Length);
            inner.Read(tensor, offset, destination);
        }
    }
}
