namespace FedICU.Benchmarks;

/// <summary>The rows of a run, and the figures computed from them.</summary>
internal sealed class Figures(IReadOnlyCollection<Row> rows)
{
    public int Runs => rows.Select(row => row.Runs.Count).DefaultIfEmpty().Max();

    public IEnumerable<IGrouping<(string Layout, DType DType, int Clients), Row>> Rounds =>
        rows.Where(row => row.Clients > 0 && row.Bytes > 0).GroupBy(row => (row.Layout, row.DType, row.Clients));

    public IEnumerable<IGrouping<string, Row>> Ceilings => rows.Where(row => row.Clients == 0).GroupBy(row => row.Case);

    /// <summary>
    /// Finds the fastest read, or copy, of a case on a number of threads; by default on all CPU cores.
    /// </summary>
    public Row? Ceiling(string layout, DType dtype, string what = "read", int? threads = null) => rows
        .Where(row => row.Clients == 0 && row.Layout == layout && row.DType == dtype)
        .Where(row => row.Contender.StartsWith(what, StringComparison.Ordinal)
            && row.Contender.EndsWith($"threads {threads ?? Environment.ProcessorCount}", StringComparison.Ordinal))
        .MaxBy(row => row.GigabytesPerSecond);

    public Row? Find(string layout, DType dtype, int clients, string contender) => rows.FirstOrDefault(row =>
        row.Layout == layout && row.DType == dtype && row.Clients == clients && row.Contender == contender && row.Runs.Count > 0);

    public double ShareOfCeiling(Row row) =>
        row.GigabytesPerSecond / (Ceiling(row.Layout, row.DType)?.GigabytesPerSecond ?? double.NaN);

    /// <summary>The layouts that have marks, of about 20 million parameters.</summary>
    public IReadOnlyList<string> LayoutsWithMarks =>
        [.. Rounds.Select(round => round.Key.Layout).Distinct().Intersect(["LoRA r=10", "5000 x 5000", "LoRA r=8", "4096 x 4096"])];

    /// <summary>Computes the time and memory that one more tensor costs in a round of ten clients.</summary>
    public (double Microseconds, double Bytes)? PerTensor(string contender)
    {
        Row? many = Find("tiny tensors", DType.F32, 10, $"{contender}, tensors 448");
        Row? one = Find("tiny tensors", DType.F32, 10, $"{contender}, tensors 1");
        if (many is null || one is null)
            return null;
        return ((many.Median - one.Median) * 1000 / 447, (many.AllocatedBytes!.Value - one.AllocatedBytes!.Value) / 447.0);
    }

    /// <summary>Compares the rows with all marks (targets) that they cover.</summary>
    public IEnumerable<(string What, double Value, double Mark, bool Holds)> Marks()
    {
        foreach (string layout in LayoutsWithMarks)
        {
            foreach ((DType dtype, double share) in new[] { (DType.F32, 0.85), (DType.BF16, 0.70), (DType.F16, 0.50) })
            {
                if (Find(layout, dtype, 10, Names.FedAvg) is not { } fedAvg)
                    continue;
                yield return AtLeast($"FedAvg, {fedAvg.Case}, 10 clients: share of the read ceiling", ShareOfCeiling(fedAvg), share);
                if (dtype != DType.F32)
                    continue;
                foreach ((string peer, double times) in new[] { (Names.NumpyLoop, 7.0), (Names.TorchAdd, 3.0) })
                {
                    if (Find(layout, dtype, 10, peer) is { } found)
                        yield return AtLeast($"{peer} / FedAvg, {layout}", found.Median / fedAvg.Median, times);
                }
            }
        }

        foreach ((string what, double value, double mark, bool holds) in RuleMarks())
            yield return (what, value, mark, holds);

        foreach (var round in Rounds)
        {
            (string layout, DType dtype, int clients) = round.Key;
            Row? fedAvg = Find(layout, dtype, clients, Names.FedAvg), fedIcu = Find(layout, dtype, clients, Names.FedIcu);
            bool isLora = layout.StartsWith("LoRA", StringComparison.Ordinal);
            double? mark = (isLora, clients) switch { (true, <= 50) => 2.2, (false, <= 10) => 2.6, (false, 50) => 3.3, _ => null };
            if (fedAvg is not null && fedIcu is not null && mark is { } most)
                yield return AtMost($"FedICU / FedAvg, {fedAvg.Case}, {clients} clients", fedIcu.Median / fedAvg.Median, most);
            foreach ((string contender, string alone) in new[] { (Names.FedAvg, Names.FedAvgAlone), (Names.FedIcu, Names.FedIcuAlone) })
            {
                if (Find(layout, dtype, clients, alone) is not { } one || Find(layout, dtype, clients, contender) is not { } all)
                    continue;
                // if one thread almost reaches the ceiling, more threads cannot help
                if (one.GigabytesPerSecond > 0.6 * Ceiling(layout, dtype)?.GigabytesPerSecond)
                    continue;
                yield return AtLeast($"{contender}, {one.Case}: one thread / {Environment.ProcessorCount}", one.Median / all.Median, 1.6);
            }
        }

        foreach (string contender in (string[])[Names.FedAvg, Names.FedIcu])
        {
            if (PerTensor(contender) is not { } cost)
                continue;
            yield return AtMost($"{contender}: microseconds per further tensor, 10 clients", cost.Microseconds, 2);
            yield return AtMost($"{contender}: bytes allocated per further tensor, 10 clients", cost.Bytes, 0);
        }

        foreach ((string what, double reads) in ReadCounts.Of(Layout.Lora(8)).Concat(ReadCounts.Of(Layout.Matrix(2048, 2048))))
        {
            if (what.StartsWith(Names.Mask, StringComparison.Ordinal))
                yield return AtMost($"{what}: reads", reads, 2);
        }
    }

    private IEnumerable<(string What, double Value, double Mark, bool Holds)> RuleMarks()
    {
        foreach (var round in Rounds)
        {
            (string layout, DType dtype, int clients) = round.Key;
            if (Find(layout, dtype, clients, Names.FedAvg) is not { } fedAvg
                || Find(layout, dtype, clients, Names.FedIcu) is not { } fedIcu
                || Find(layout, dtype, clients, Names.Median) is not { } median
                || Find(layout, dtype, clients, Names.Krum) is not { } krum
                || Find(layout, dtype, clients, Names.FedAdam) is not { } fedAdam)
                continue;
            string name = $"{fedAvg.Case}, {clients} clients";
            yield return AtLeast($"median: share of FedAvg's GB/s, {name}", fedAvg.Median / median.Median, 0.5);
            if (Find(layout, dtype, clients, Names.NumpyMedian) is { } numpyMedian)
                yield return AtLeast($"{Names.NumpyMedian} / median, {name}", numpyMedian.Median / median.Median, clients > 10 ? 60 : 40);
            if (Find(layout, dtype, clients, Names.TorchMedian) is { } torchMedian)
                yield return AtLeast($"{Names.TorchMedian} / median, {name}", torchMedian.Median / median.Median, 20);
            foreach ((string rule, string peer) in new[] { (Names.Ties, Names.TorchTies), (Names.Dare, Names.TorchDare) })
            {
                if (Find(layout, dtype, clients, rule) is { } ours && Find(layout, dtype, clients, peer) is { } theirs)
                    yield return AtLeast($"{peer} / {rule}, {name}", theirs.Median / ours.Median, 10);
            }

            yield return AtMost($"krum / FedICU, {name}", krum.Median / fedIcu.Median, 1.5);
            if (Find(layout, dtype, clients, Names.NumpyKrum) is { } numpyKrum)
                yield return AtLeast($"{Names.NumpyKrum} / krum, {name}", numpyKrum.Median / krum.Median, clients > 10 ? 20 : 6);
            yield return AtMost($"{Names.FedAdam} / FedAvg, {name}", fedAdam.Median / fedAvg.Median, dtype == DType.F32 ? 1.7 : 2.2);
            if (Find(layout, dtype, clients, Names.TrimmedMean) is { } trimmed)
            {
                yield return AtLeast($"trimmed-mean: share of FedAvg's GB/s, {name}", fedAvg.Median / trimmed.Median, 0.5);
                if (Find(layout, dtype, clients, Names.NumpyTrimmedMean) is { } sorted)
                {
                    yield return AtLeast(
                        $"{Names.NumpyTrimmedMean} / trimmed-mean, {name}", sorted.Median / trimmed.Median, clients > 10 ? 20 : 40);
                }
            }

            foreach ((string rule, bool ofFedAvg, double f32, double bf16) in Names.Marks)
            {
                if (clients == 10 && Find(layout, dtype, clients, rule) is { } row)
                {
                    Row other = ofFedAvg ? fedAvg : fedIcu;
                    yield return AtMost($"{rule} / {other.Contender}, {name}", row.Median / other.Median, dtype == DType.F32 ? f32 : bf16);
                }
            }
        }
    }

    private static (string, double, double, bool) AtLeast(string what, double value, double mark) => (what, value, mark, value >= mark);

    private static (string, double, double, bool) AtMost(string what, double value, double mark) => (what, value, mark, value <= mark);
}
