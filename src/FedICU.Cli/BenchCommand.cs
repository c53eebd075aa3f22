using System.CommandLine;
using System.Diagnostics;
using System.Runtime.InteropServices;
using FedICU.Compute;
using FedICU.Gpu;

namespace FedICU.Cli;

/// <summary>
/// The command <c>fedicu bench</c>: measures a backend's speed here, compared with the speed of copying memory.
/// </summary>
internal sealed class BenchCommand : FedIcuCommand
{
    // repetitions of each measurement, of which the median counts; chosen
    private const int Repetitions = 7;

    // bytes of the copied block: far larger than any CPU cache; chosen
    private const int CopyBytes = 256 << 20;

    // clients of the larger round; chosen
    private const int MostClients = 10;

    private readonly Option<string?> _backend =
        Flags.Optional("--backend", "BACKEND", $"{string.Join(", ", ComputeBackends.Names)}. Default: as for aggregate.");
    private readonly Option<bool> _quick = Flags.Switch("--quick", "Measures only a 1024 x 1024 matrix, and not 4096 x 4096 too.");

    public BenchCommand(Terminal terminal)
        : base("bench", "Measures FedAvg, FedICU and the client's mask on random data, and compares them with plain copying.", terminal)
    {
        Add(_backend);
        Add(_quick);
    }

    public override IReadOnlyList<string> Examples => ["fedicu bench --backend simd", "fedicu bench --backend cuda"];

    protected override Task<int> RunAsync(ParseResult line, CancellationToken cancellationToken) =>
        Task.Run(() => Run(line, cancellationToken), cancellationToken);

    private int Run(ParseResult line, CancellationToken cancellationToken)
    {
        if (!ManagedTool.IsThis)
            throw new ManagedToolNeededException("'fedicu bench'");
        string? backendName = line.GetValue(_backend);
        using GpuBackend? device = OpenDevice(backendName);
        IClientBackend backend = device ?? Flags.ReadBackend(backendName is null or "auto" ? "simd" : backendName, Terminal, []);
        var table = new ResultTable("backend", "what", "where", "matrix", "type", ">clients", ">ms", ">GB/s", ">of copying");
        // a copy within one memory reads and writes each byte; a copy over the bus moves it once
        double hostCeiling = AddCopy("on the host, all threads", 2, MeasureHostCopy());
        double deviceCopySpeed = 0;
        if (device is not null)
        {
            (double within, double across) = device.MeasureCopy(CopyBytes);
            deviceCopySpeed = AddCopy("on the device", 2, within);
            // models in the host's memory reach the device over the bus
            hostCeiling = AddCopy("to the device", 1, across);
        }

        foreach (int size in line.GetValue(_quick) ? (int[])[1024] : [1024, 4096])
        {
            foreach (DType dtype in (DType[])[DType.F32, DType.BF16])
                Measure(size, dtype);
        }

        Terminal.Table(table);
        return ExitCode.Done;

        double AddCopy(string where, int movesPerByte, double ms)
        {
            double speed = (double)movesPerByte * CopyBytes / ms / 1e6;
            table.Add(backend.Name, "copying", where, "", "", "", Text.Fixed(ms), Text.Fixed(speed), "");
            return speed;
        }

        void Measure(int size, DType dtype)
        {
            MemoryModel[] models = [.. Enumerable.Range(0, MostClients + 1).Select(k => CreateModel(size, dtype, k))];
            DeviceTensors[] deviceModels = device is { HasAddresses: true }
                ? [.. models.Select(model => DeviceTensors.CopyOf(model, device))]
                : [];
            foreach (int clients in (int[])[2, MostClients])
            {
                foreach (string strategy in (string[])["fedavg", "fedicu"])
                {
                    cancellationToken.ThrowIfCancellationRequested();
                    // FedICU passes three times over all clients and the global model if no panel stays in a cache
                    double bytes = (double)models[0].Tensors[0].ByteLength * (strategy == "fedavg" ? clients + 1 : 3 * clients + 4);
                    using var sink = new MemorySink();
                    AddRow(
                        strategy, "host", clients, bytes, hostCeiling,
                        Time(() => Aggregate(strategy, models, clients, backend, sink)));
                    if (deviceModels.Length == 0)
                        continue;
                    using var deviceSink = new DeviceSink(device!);
                    AddRow(
                        strategy, "device", clients, bytes, deviceCopySpeed,
                        Time(() => Aggregate(strategy, deviceModels, clients, backend, deviceSink)));
                }
            }

            Array.ForEach(deviceModels, tensors => tensors.Dispose());
            // the mask passes twice over both models and the old momentum, and writes the new one; momentum is F32
            double maskBytes = (double)models[0].Tensors[0].ByteLength * 4 + 3.0 * models[0].Tensors[0].ElementCount * sizeof(float);
            using var update = new MemorySink();
            using var momentum = new MemorySink();
            using var next = new MemorySink();
            var client = new FedIcuClient();
            client.CreateUpdate(models[0], models[1], update, null, momentum, backend: backend, cancellationToken: cancellationToken);
            AddRow("mask", "host", 1, maskBytes, hostCeiling, Time(() => client.CreateUpdate(
                models[0], models[2], update, momentum.Model, next, backend: backend, cancellationToken: cancellationToken)));

            void AddRow(string what, string where, int clients, double bytes, double copySpeed, double ms) => table.Add(
                backend.Name, what, where, $"{size} x {size}", dtype.SafetensorsName, Text.Count(clients), Text.Fixed(ms),
                Text.Fixed(bytes / ms / 1e6), Text.Percent(bytes / ms / 1e6 / copySpeed));
        }
    }

    private static GpuBackend? OpenDevice(string? name)
    {
        GpuKind[] kinds = name switch
        {
            "cuda" or null or "auto" => [GpuKind.Cuda],
            "opencl" => [GpuKind.OpenCl],
            _ => [],
        };
        foreach (GpuKind kind in kinds)
        {
            if (GpuBackend.TryCreate(kind, null, out GpuBackend? device, out string? reason))
                return device;
            if (name is not (null or "auto"))
                throw new RefusedException(reason);
        }

        return null;
    }

    private static void Aggregate(
        string strategy, IReadOnlyList<TensorSource> models, int clients, IComputeBackend backend, TensorSink sink)
    {
        var round = new AggregationRound(models[0], new RoundOptions { Backend = backend });
        for (int k = 1; k <= clients; k++)
            round.Add(ClientUpdate.FromTensors($"c{k:00}", models[k], examples: k));
        StrategyRegistry.Default.Create(strategy, []).Aggregator.AggregateAsync(round, sink).GetAwaiter().GetResult();
    }

    private static double Time(Action work)
    {
        double[] times = new double[Repetitions];
        work();
        for (int i = 0; i < Repetitions; i++)
        {
            long start = Stopwatch.GetTimestamp();
            work();
            times[i] = Stopwatch.GetElapsedTime(start).TotalMilliseconds;
        }

        return times.Order().ElementAt(Repetitions / 2);
    }

    private static double MeasureHostCopy()
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

    /// <summary>
    /// Creates a model of random values with magnitudes of 1/8 to 1/4. Two of three clients share their signs.
    /// </summary>
    private static MemoryModel CreateModel(int size, DType dtype, int seed)
    {
        var info = new TensorInfo("weight", dtype, new TensorShape(size, size));
        byte[] bytes = new byte[info.ByteLength], signs = new byte[info.ByteLength];
        new Random(seed).NextBytes(bytes);
        new Random(seed % 3 == 2 ? seed : 99).NextBytes(signs);
        if (dtype == DType.F32)
        {
            Span<uint> words = MemoryMarshal.Cast<byte, uint>(bytes.AsSpan()), signWords = MemoryMarshal.Cast<byte, uint>(signs.AsSpan());
            for (int i = 0; i < words.Length; i++)
                words[i] = words[i] & 0x7F_FFFF | signWords[i] & 0x8000_0000 | 0x3E00_0000;
        }
        else
        {
            Span<ushort> words = MemoryMarshal.Cast<byte, ushort>(bytes.AsSpan());
            Span<ushort> signWords = MemoryMarshal.Cast<byte, ushort>(signs.AsSpan());
            for (int i = 0; i < words.Length; i++)
                words[i] = (ushort)(words[i] & 0x7F | signWords[i] & 0x8000 | 0x3E00);
        }

        var model = new MemoryModel();
        model.Add(info, bytes);
        return model;
    }
}
