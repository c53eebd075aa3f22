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

/// <summary>
/// Runs the contenders on all cases of the grid and collects their rows. All contenders of a case use the same data.
/// </summary>
/// <param name="artifacts">The folder of the log.</param>
/// <param name="quick">Whether less is measured, in less time.</param>
/// <param name="onlyRules">Whether only FedAvg, FedICU, the other rules and these rules' peers are measured.</param>
internal sealed class Suite(string artifacts, bool quick, bool onlyRules = false) : IDisposable
{
    // the number of clients for which every contender is measured; chosen
    private const int UsualClients = 10;

    // the number of clients for which the other rules are measured again, beside their peers in Python; chosen
    private const int ManyClients = 50;

    // elements of the largest layout on which slow peers are measured; chosen: larger ones take minutes
    private const long SmallLayout = 30_000_000;

    // bytes per second by which the number of rounds is planned; chosen as a fast machine's
    private const double PlannedSpeed = 20e9;

    private readonly StreamLogger _log = new(Path.Combine(artifacts, "log.txt"));
    private readonly Dictionary<(string, DType, int, string), Row> _rows = [];
    // the rows that the current run has measured; further times for them belong to the same run
    private readonly HashSet<Row> _begun = new(ReferenceEqualityComparer.Instance);

    /// <summary>
    /// The models of the current case. It is static because BenchmarkDotNet creates the benchmark classes itself.
    /// </summary>
    public static Workload Workload { get; private set; } = null!;

    public IReadOnlyCollection<Row> Rows => _rows.Values;

    /// <summary>
    /// Lists the layouts, types and numbers of clients to measure. All contenders are measured with ten clients on
    /// layouts that have peers, the rules and their peers also with fifty, FedAvg and FedICU everywhere.
    /// </summary>
    public static IEnumerable<(Layout Layout, DType DType, int[] Clients)> Grid(bool quick)
    {
        int[] all = quick ? [UsualClients] : [2, UsualClients, 50, 200];
        IEnumerable<(Layout, int[])> layouts = quick
            ? [(Layout.Lora(8), all), (Layout.Matrix(4096, 4096), all)]
            :
            [
                (Layout.Lora(10) with { HasPeers = false }, [UsualClients]),
                (Layout.Matrix(5000, 5000) with { HasPeers = false }, [UsualClients]),
                (Layout.Lora(8), all),
                (Layout.Matrix(4096, 4096), all),
                (Layout.Lora(64), all),
                (Layout.Matrix(32000, 4096), all),
            ];
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
            bool hasRules = count is UsualClients or ManyClients && layout.HasPeers && layout.Elements <= SmallLayout;
            // the peers of large layouts take minutes, so they are measured in one run only
            bool hasMeasuredPeers = layout.Elements > SmallLayout && _rows.ContainsKey((layout.Name, dtype, count, Names.Sparse));
            if (onlyRules || count != UsualClients || !layout.HasPeers || hasMeasuredPeers)
            {
                Run<Rounds>(moved, 1, _ => moved, Names.FedAvg, Names.FedIcu);
                if (hasRules)
                {
                    Run<Rules>(moved, 1, _ => moved);
                    if (dtype != DType.F16)
                        external?.Measure(workload, (name, times, note) => Add(name, times, moved, null, note), onlyRules: true);
                }

                continue;
            }

            Run<Rounds>(moved, 1, _ => moved);
            Run<Rules>(moved, 1, _ => moved);
            // measured again, because the load of other processes changes
            MeasureCeiling();
            Run<SparseRounds>(moved, 1, _ => SparseRounds.Bytes + 2 * workload.Bytes, Names.Sparse);
            // the work of a LoRA report's cross-terms grows with the square of clients times rank
            if (dtype == DType.F32 && layout.Elements <= SmallLayout)
                Run<ReportRounds>(moved, 0.1, _ => moved, Names.Statistics);
            Run<Masks>(4 * workload.Bytes, 1, _ => Masks.Bytes + 2 * workload.Bytes);
            Run<Peers>(moved, 0.5, _ => moved, dtype == DType.BF16 ? [Names.Loop] : []);
            if (layout.Elements > SmallLayout)
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
            using var workload = Workload = new Workload(CheckLayout, dtype, UsualClients) { Clients = UsualClients };
            long moved = (UsualClients + 1) * workload.Bytes;
            if (dtype == DType.F32)
            {
                MeasureCeiling();
                Run<Peers>(moved, 0.5, _ => moved, Names.Loop);
            }

            Run<Rounds>(moved, 1, _ => moved, Names.FedAvg, Names.FedProx, Names.FedIcu);
        }

        MeasureOverhead();
    }

    private void MeasureCeiling() =>
        Run<Ceiling>(0, 0.15, name => name.StartsWith("copy", StringComparison.Ordinal) ? 2 * Ceiling.Bytes : Ceiling.Bytes);

    public void MeasureOverhead() => Run<Overhead>(0, 1, _ => 0);

    public void NextRun() => _begun.Clear();

    /// <summary>Adds the rows of earlier runs.</summary>
    public void Add(IEnumerable<Row> rows)
    {
        foreach (Row row in rows)
            _rows.Add(KeyOf(row), row);
    }

    public void Dispose() => _log.Dispose();

    /// <summary>
    /// Runs the benchmarks of a class, or those with the given names. The number of rounds is what fits the given
    /// seconds at the planned speed, but between one to three and fifteen. Rounds that take seconds need no warm-up.
    /// </summary>
    private void Run<T>(long moved, double seconds, Func<string, long> bytes, params string[] names)
    {
        double round = moved / PlannedSpeed;
        int invocations = typeof(T) == typeof(Overhead) ? 16 : 1;
        int warmUps = round > 1 ? 0 : round > 0.3 || seconds < 0.2 ? 1 : 3;
        int fewest = round > 4 ? 1 : round > 1 || quick && seconds < 0.2 ? 2 : 3;
        int iterations = (int)Math.Clamp(seconds * (quick ? 0.4 : 1) / Math.Max(round, 0.01), fewest, 15);
        Job job = Job.Default.WithToolchain(InProcessEmitToolchain.Instance).WithStrategy(RunStrategy.Monitoring)
            .WithInvocationCount(invocations).WithUnrollFactor(1).WithWarmupCount(warmUps).WithIterationCount(iterations);
        IConfig config = ManualConfig.CreateEmpty().AddJob(job).AddLogger(_log).AddColumnProvider(DefaultColumnProviders.Instance)
            .WithOptions(ConfigOptions.DisableLogFile).WithArtifactsPath(artifacts);
        if (names.Length > 0)
            config = config.AddFilter(new SimpleFilter(benchmark => names.Contains(NameOf(benchmark))));
        Summary summary = BenchmarkRunner.Run<T>(config);
        _log.Flush();
        if (summary.HasCriticalValidationErrors)
            throw new InvalidOperationException(string.Join(' ', summary.ValidationErrors.Select(error => error.Message)));
        foreach (BenchmarkCase benchmark in summary.BenchmarksCases)
        {
            double[] times = [.. summary[benchmark]!.AllMeasurements
                .Where(one => one.IterationMode == IterationMode.Workload && one.IterationStage == IterationStage.Actual)
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
        var row = isOverhead
            ? new Row("tiny tensors", DType.F32, UsualClients, UsualClients, contender)
            : new Row(
                Workload.Layout.Name, Workload.DType, of == typeof(Ceiling) ? 0 : Workload.Clients,
                Math.Min(Workload.Clients, Workload.Memory.Models), contender);
        if (!_rows.TryAdd(KeyOf(row), row))
            row = _rows[KeyOf(row)];
        (row.Bytes, row.AllocatedBytes, row.Note) = (bytes, allocated, note ?? row.Note);
        if (times.Length > 0 && _begun.Add(row))
            row.Runs.Add(times);
        else if (times.Length > 0)
            row.Runs[^1] = [.. row.Runs[^1], .. times];
        if (times.Length == 0)
        {
            Console.WriteLine($"{row.Case}: {contender} is left out: {note}");
            return;
        }

        double median = times.Order().ElementAt(times.Length / 2);
        string clients = row.Clients > 0 ? $", {row.Clients} clients" : "";
        string speed = bytes > 0 ? $", {bytes / median / 1e6:0.0} GB/s" : "";
        Console.WriteLine($"{row.Case}{clients}: {contender}: {median:0.00} ms{speed}");
    }
}
