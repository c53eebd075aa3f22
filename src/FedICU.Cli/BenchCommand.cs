using System.CommandLine;
using System.Diagnostics;
using System.Runtime.InteropServices;
using FedICU.Compute;
using FedICU.Gpu;

namespace FedICU.Cli;

/// <summary><c>fedicu bench</c>: how fast a backend is here, as a share of what its memory gives.</summary>
internal sealed class BenchCommand : FedIcuCommand
{
    private const int Rounds = 7, CopyBytes = 256 << 20, MostClients = 10;

    private readonly Option<string?> _backend = Flags.Optional("--backend", "BACKEND", $"{string.Join(", ", ComputeBackends.Names)}. Default: as for aggregate.");
    private readonly Option<bool> _quick = Flags.Switch("--quick", "A matrix of 1024 x 1024 alone, instead of 4096 x 4096 too.");

    public BenchCommand(Terminal terminal) : base("bench", "Measures FedAvg, FedICU and the client's mask on random data, beside plain copying in the same run.", terminal)
    {
        Add(_backend);
        Add(_quick);
    }

    public override IReadOnlyList<string> Examples => ["fedicu bench --backend simd", "fedicu bench --backend cuda"];

    protected override Task<int> RunAsync(ParseResult line, CancellationToken cancellationToken) => Task.Run(() => Run(line, cancellationToken), cancellationToken);

    private int Run(ParseResult line, CancellationToken cancellationToken)
    {
        using GpuBackend? device = OpenDevice(line.GetValue(_backend));
        IClientBackend backend = device ?? Flags.ReadBackend(line.GetValue(_backend) is null or "auto" ? "simd" : line.GetValue(_backend), Terminal, []);
        var table = new ResultTable("backend", "what", "where", "matrix", "type", ">clients", ">ms", ">GB/s", ">of copying");
        // counted as read and written; across the bus once
        double onHost = Copying("on the host, all threads", 2, CopyOnHost()), ceiling = onHost, onDevice = 0;
        if (device is not null)
        {
            (double within, double across) = device.MeasureCopy(CopyBytes);
            (onDevice, ceiling) = (Copying("on the device", 2, within), Copying("to the device", 1, across));
        }

        foreach (int size in line.GetValue(_quick) ? (int[])[1024] : [1024, 4096])
        {
            foreach (DType dtype in (DType[])[DType.F32, DType.BF16])
                Measure(size, dtype);
        }

        Terminal.Table(table);
        return ExitCode.Done;

        double Copying(string where, int times, double ms)
        {
            double speed = (double)times * CopyBytes / ms / 1e6;
            table.Add(backend.Name, "copying", where, "", "", "", Text.Fixed(ms), Text.Fixed(speed), "");
            return speed;
        }

        void Measure(int size, DType dtype)
        {
            MemoryModel[] models = [.. Enumerable.Range(0, MostClients + 1).Select(k => Model(size, dtype, k))];
            DeviceTensors[] there = device is { HasAddresses: true } ? [.. models.Select(model => DeviceTensors.CopyOf(model, device))] : [];
            foreach (int clients in (int[])[2, MostClients])
            {
                foreach (string strategy in (string[])["fedavg", "fedicu"])
                {
                    cancellationToken.ThrowIfCancellationRequested();
                    // FedICU looks three times at all clients and at the global model, where no panel stays in a cache
                    double bytes = (double)models[0].Tensors[0].ByteLength * (strategy == "fedavg" ? clients + 1 : 3 * clients + 4);
                    using var sink = new MemorySink();
                    Row(strategy, "host", clients, bytes, ceiling, Time(() => Aggregate(strategy, models, clients, backend, sink)));
                    if (there.Length == 0)
                        continue;
                    using var sinkThere = new DeviceSink(device!);
                    Row(strategy, "device", clients, bytes, onDevice, Time(() => Aggregate(strategy, there, clients, backend, sinkThere)));
                }
            }

            Array.ForEach(there, tensors => tensors.Dispose());
            // two looks at both models and the old momentum; the new momentum, of F32 both
            double masked = (double)models[0].Tensors[0].ByteLength * 4 + 3.0 * models[0].Tensors[0].ElementCount * sizeof(float);
            using var update = new MemorySink();
            using var momentum = new MemorySink();
            using var next = new MemorySink();
            var client = new FedIcuClient();
            client.CreateUpdate(models[0], models[1], update, null, momentum, backend: backend, cancellationToken: cancellationToken);
            Row("mask", "host", 1, masked, ceiling, Time(() => client.CreateUpdate(models[0], models[2], update, momentum.Model, next, backend: backend, cancellationToken: cancellationToken)));

            void Row(string what, string where, int clients, double bytes, double copying, double ms) => table.Add(
                backend.Name, what, where, $"{size} x {size}", dtype.SafetensorsName, Text.Count(clients), Text.Fixed(ms), Text.Fixed(bytes / ms / 1e6), Text.Percent(bytes / ms / 1e6 / copying));
        }
    }

    private static GpuBackend? OpenDevice(string? name)
    {
        GpuKind[] kinds = name switch { "cuda" => [GpuKind.Cuda], "opencl" => [GpuKind.OpenCl], null or "auto" => [GpuKind.Cuda], _ => [] };
        foreach (GpuKind kind in kinds)
        {
            if (GpuBackend.TryCreate(kind, null, out GpuBackend? device, out string? reason))
                return device;
            if (name is not (null or "auto"))
                throw new RefusedException(reason);
        }

        return null;
    }

    private static void Aggregate(string strategy, IReadOnlyList<TensorSource> models, int clients, IComputeBackend backend, TensorSink sink)
    {
        var round = new AggregationRound(models[0], new RoundOptions { Backend = backend });
        for (int k = 1; k <= clients; k++)
            round.Add(ClientUpdate.FromTensors($"c{k:00}", models[k], examples: k));
        AggregatorCatalog.Create(strategy, []).Aggregator.AggregateAsync(round, sink).GetAwaiter().GetResult();
    }

    private static double Time(Action work)
    {
        double[] times = new double[Rounds];
        work();
        for (int i = 0; i < Rounds; i++)
        {
            long start = Stopwatch.GetTimestamp();
            work();
            times[i] = Stopwatch.GetElapsedTime(start).TotalMilliseconds;
        }

        return times.Order().ElementAt(Rounds / 2);
    }

    private static double CopyOnHost()
    {
        byte[] from = new byte[CopyBytes], to = new byte[CopyBytes];
        new Random(1).NextBytes(from);
        int pieces = Environment.ProcessorCount;
        return Time(() => Parallel.For(0, pieces, i =>
        {
            int first = (int)((long)CopyBytes * i / pieces), end = (int)((long)CopyBytes * (i + 1) / pieces);
            from.AsSpan(first..end).CopyTo(to.AsSpan(first..end));
        }));
    }

    /// <summary>Random values of magnitude 1/8 to 1/4, of which clients share most signs.</summary>
    private static MemoryModel Model(int size, DType dtype, int seed)
    {
        var info = new TensorInfo("weight", dtype, new TensorShape(size, size));
        byte[] bytes = new byte[info.ByteLength], signs = new byte[info.ByteLength];
        new Random(seed).NextBytes(bytes);
        new Random(seed % 3 == 2 ? seed : 99).NextBytes(signs);
        if (dtype == DType.F32)
        {
            Span<uint> words = MemoryMarshal.Cast<byte, uint>(bytes.AsSpan()), others = MemoryMarshal.Cast<byte, uint>(signs.AsSpan());
            for (int i = 0; i < words.Length; i++)
                words[i] = words[i] & 0x7F_FFFF | others[i] & 0x8000_0000 | 0x3E00_0000;
        }
        else
        {
            Span<ushort> words = MemoryMarshal.Cast<byte, ushort>(bytes.AsSpan()), others = MemoryMarshal.Cast<byte, ushort>(signs.AsSpan());
            for (int i = 0; i < words.Length; i++)
                words[i] = (ushort)(words[i] & 0x7F | others[i] & 0x8000 | 0x3E00);
        }

        var model = new MemoryModel();
        model.Add(info, bytes);
        return model;
    }
}
