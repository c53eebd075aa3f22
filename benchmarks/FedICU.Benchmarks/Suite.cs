using BenchmarkDotNet.Columns;
using BenchmarkDotNet.Configs;
using BenchmarkDotNet.Engines;
using BenchmarkDotNet.Filters;
using BenchmarkDotNet.Jobs;
using BenchmarkDotNet.Loggers;
using BenchmarkDotNet.Reports;
using BenchmarkDotNet.Running;
using BenchmarkDotNet.Toolchains.InProcess.Emit;

namespace FedICU.Benchmarks;

/// <summary>Runs the contenders on the grid, each case's on the same data, and gathers their rows.</summary>
internal sealed class Suite(string artifacts, bool quick) : IDisposable
{
    private const int Every = 10;
    private const long Small = 30_000_000;

    private readonly StreamLogger _log = new(Path.Combine(artifacts, "log.txt"));
    private readonly Dictionary<(string, DType, int, string), Row> _rows = [];
    // what the run under way has measured: more of it is of the same run
    private readonly HashSet<Row> _begun = new(ReferenceEqualityComparer.Instance);

    /// <summary>The models of the case under way: benchmarks are made by their runner and get nothing handed in.</summary>
    public static Workload Workload { get; private set; } = null!;

    public IReadOnlyCollection<Row> Rows => _rows.Values;

    /// <summary>Layouts, types and numbers of clients; of ten clients everything is measured, of others, and of layouts without peers, FedAvg and FedICU.</summary>
    public static IEnumerable<(Layout Layout, DType DType, int[] Clients)> Grid(bool quick)
    {
        int[] all = quick ? [Every] : [2, Every, 50, 200];
        IEnumerable<(Layout, int[])> layouts = quick
            ? [(Layout.Lora(8), all), (Layout.Matrix(4096, 4096), all)]
            : [(Layout.Lora(10) with { HasPeers = false }, [Every]), (Layout.Matrix(5000, 5000) with { HasPeers = false }, [Every]), (Layout.Lora(8), all), (Layout.Matrix(4096, 4096), all), (Layout.Lora(64), all), (Layout.Matrix(32000, 4096), all)];
        return from layout in layouts
               from dtype in quick ? [DType.F32, DType.BF16] : new[] { DType.F32, DType.F16, DType.BF16 }
               select (layout.Item1, dtype, layout.Item2);
    }

    public void Measure(Layout layout, DType dtype, int[] clients, ExternalPeers? external)
    {
        using var workload = Workload = new Workload(layout, dtype, clients.Max());
        MeasureCeiling();
        foreach (int count in clients)
        {
            workload.Clients = count;
            long moved = (count + 1) * workload.Bytes;
            // the peers of large layouts take minutes, and one run of them is enough
            if (count != Every || !layout.HasPeers || layout.Elements > Small && _rows.ContainsKey((layout.Name, dtype, count, Names.Sparse)))
            {
                Run<Rounds>(moved, 1, _ => moved, Names.FedAvg, Names.FedIcu);
                continue;
            }

            Run<Rounds>(moved, 1, _ => moved);
            // neighbours come and go
            MeasureCeiling();
            Run<SparseRounds>(moved, 1, _ => SparseRounds.Bytes + 2 * workload.Bytes, Names.Sparse);
            // a LoRA report's products of factors grow with the square of clients times rank
            if (dtype == DType.F32 && layout.Elements <= Small)
                Run<ReportRounds>(moved, 0.1, _ => moved, Names.Statistics);
            Run<Masks>(4 * workload.Bytes, 1, _ => Masks.Bytes + 2 * workload.Bytes);
            Run<Peers>(moved, 0.5, _ => moved, dtype == DType.BF16 ? [Names.Loop] : []);
            if (layout.Elements > Small)
                continue;
            if (dtype == DType.F32)
                Run<ArrayPeers>(moved, 0.1, _ => moved);
            if (dtype != DType.F16)
                external?.Measure(workload, (name, times, note) => Add(name, times, moved, null, note));
        }
    }

    /// <summary>The layout of the regression check.</summary>
    public static Layout CheckLayout { get; } = Layout.Lora(8);

    public void MeasureForCheck()
    {
        foreach (DType dtype in (DType[])[DType.F32, DType.BF16])
        {
            using var workload = Workload = new Workload(CheckLayout, dtype, Every) { Clients = Every };
            long moved = (Every + 1) * workload.Bytes;
            if (dtype == DType.F32)
            {
                MeasureCeiling();
                Run<Peers>(moved, 0.5, _ => moved, Names.Loop);
            }

            Run<Rounds>(moved, 1, _ => moved, Names.FedAvg, Names.FedProx, Names.FedIcu);
        }

        MeasureOverhead();
    }

    private void MeasureCeiling() => Run<Ceiling>(0, 0.15, name => name.StartsWith("copy", StringComparison.Ordinal) ? 2 * Ceiling.Bytes : Ceiling.Bytes);

    public void MeasureOverhead() => Run<Overhead>(0, 1, _ => 0);

    public void NextRun() => _begun.Clear();

    /// <summary>Takes the rows of runs before.</summary>
    public void Add(IEnumerable<Row> rows)
    {
        foreach (Row row in rows)
            _rows.Add(KeyOf(row), row);
    }

    public void Dispose() => _log.Dispose();

    /// <summary>Rounds of one class's benchmarks, or of those named: as many as fit the time, if the memory gave 20 GB/s, but two or three to fifteen. Rounds of seconds need no warming.</summary>
    private void Run<T>(long moved, double seconds, Func<string, long> bytes, params string[] names)
    {
        double round = moved / 20e9;
        bool tiny = typeof(T) == typeof(Overhead);
        Job job = Job.Default.WithToolchain(InProcessEmitToolchain.Instance).WithStrategy(RunStrategy.Monitoring)
            .WithInvocationCount(tiny ? 16 : 1).WithUnrollFactor(1).WithWarmupCount(round > 1 ? 0 : round > 0.3 || seconds < 0.2 ? 1 : 3)
            .WithIterationCount((int)Math.Clamp(seconds * (quick ? 0.4 : 1) / Math.Max(round, 0.01), round > 4 ? 1 : round > 1 || quick && seconds < 0.2 ? 2 : 3, 15));
        IConfig config = ManualConfig.CreateEmpty().AddJob(job).AddLogger(_log).AddColumnProvider(DefaultColumnProviders.Instance)
            .WithOptions(ConfigOptions.DisableLogFile).WithArtifactsPath(artifacts);
        if (names.Length > 0)
            config = config.AddFilter(new SimpleFilter(benchmark => names.Contains(NameOf(benchmark))));
        Summary summary = BenchmarkRunner.Run<T>(config);
        _log.Flush();
        foreach (BenchmarkCase benchmark in summary.BenchmarksCases)
        {
            double[] times = [.. summary[benchmark]!.AllMeasurements.Where(one => one.IterationMode == IterationMode.Workload && one.IterationStage == IterationStage.Actual)
                .Select(one => one.GetAverageTime().ToMilliseconds())];
            if (times.Length == 0)
                throw new InvalidOperationException($"{NameOf(benchmark)} failed; {Path.Combine(artifacts, "log.txt")} says why.");
            string name = NameOf(benchmark);
            string suffix = string.Concat(benchmark.Parameters.Items.Select(item => $", {item.Name.ToLowerInvariant()} {item.Value}"));
            Add(name + suffix, times, bytes(name), summary[benchmark]!.GcStats.GetBytesAllocatedPerOperation(benchmark), null, typeof(T));
        }
    }

    private static (string, DType, int, string) KeyOf(Row row) => (row.Layout, row.DType, row.Clients, row.Contender);

    private static string NameOf(BenchmarkCase benchmark) => benchmark.Descriptor.WorkloadMethodDisplayInfo.Trim('\'');

    private void Add(string contender, double[] times, long bytes, long? allocated, string? note, Type? of = null)
    {
        bool isOverhead = of == typeof(Overhead);
        var row = isOverhead ? new Row("tiny tensors", DType.F32, Every, Every, contender)
            : new Row(Workload.Layout.Name, Workload.DType, of == typeof(Ceiling) ? 0 : Workload.Clients, Math.Min(Workload.Clients, Workload.Memory.Models), contender);
        if (!_rows.TryAdd(KeyOf(row), row))
            row = _rows[KeyOf(row)];
        (row.Bytes, row.AllocatedBytes, row.Note) = (bytes, allocated, note ?? row.Note);
        if (times.Length > 0 && _begun.Add(row))
            row.Runs.Add(times);
        else if (times.Length > 0)
            row.Runs[^1] = [.. row.Runs[^1], .. times];
        Console.WriteLine(times.Length == 0 ? $"{row.Case}: {contender} is left out: {note}"
            : $"{row.Case}{(row.Clients > 0 ? $", {row.Clients} clients" : "")}: {contender}: {times.Order().ElementAt(times.Length / 2):0.00} ms{(bytes > 0 ? $", {bytes / times.Order().ElementAt(times.Length / 2) / 1e6:0.0} GB/s" : "")}");
    }
}
